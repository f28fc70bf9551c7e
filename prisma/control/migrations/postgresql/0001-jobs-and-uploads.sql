-- CreateTable
CREATE TABLE "jobs" (
    "id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "dry_run" BOOLEAN NOT NULL DEFAULT false,
    "created_time" BIGINT NOT NULL,
    "ended_time" BIGINT,
    "deleted_before" BIGINT,
    "due_time" BIGINT NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "lease_owner" TEXT,
    "lease_until" BIGINT,

    CONSTRAINT "jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "job_items" (
    "job_id" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "kind" TEXT NOT NULL,
    "subject_id" TEXT NOT NULL,
    "experiment_id" TEXT NOT NULL,
    "artifact_uri" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "error" TEXT NOT NULL DEFAULT '',
    "ended_order" INTEGER,

    CONSTRAINT "job_items_pkey" PRIMARY KEY ("job_id","position")
);

-- CreateTable
CREATE TABLE "multipart_uploads" (
    "id" TEXT NOT NULL,
    "uri" TEXT NOT NULL,
    "upload_id" TEXT NOT NULL,
    "num_parts" INTEGER NOT NULL,
    "state" TEXT NOT NULL,
    "error_code" TEXT NOT NULL DEFAULT '',
    "error" TEXT NOT NULL DEFAULT '',
    "created_time" BIGINT NOT NULL,
    "updated_time" BIGINT NOT NULL,
    "job_id" TEXT,

    CONSTRAINT "multipart_uploads_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "multipart_upload_parts" (
    "multipart_upload_id" TEXT NOT NULL,
    "part_number" INTEGER NOT NULL,
    "etag" TEXT NOT NULL,
    "url" TEXT NOT NULL,

    CONSTRAINT "multipart_upload_parts_pkey" PRIMARY KEY ("multipart_upload_id","part_number")
);

-- CreateIndex
CREATE INDEX "jobs_state_due_time_idx" ON "jobs"("state", "due_time");

-- CreateIndex
CREATE INDEX "jobs_kind_created_time_id_idx" ON "jobs"("kind", "created_time", "id");

-- CreateIndex
CREATE INDEX "job_items_job_id_kind_experiment_id_idx" ON "job_items"("job_id", "kind", "experiment_id");

-- CreateIndex
CREATE UNIQUE INDEX "job_items_job_id_ended_order_key" ON "job_items"("job_id", "ended_order");

-- CreateIndex
CREATE INDEX "multipart_uploads_job_id_idx" ON "multipart_uploads"("job_id");

-- CreateIndex
CREATE INDEX "multipart_uploads_state_updated_time_idx" ON "multipart_uploads"("state", "updated_time");

-- AddForeignKey
ALTER TABLE "job_items" ADD CONSTRAINT "job_items_job_id_fkey" FOREIGN KEY ("job_id") REFERENCES "jobs"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "multipart_uploads" ADD CONSTRAINT "multipart_uploads_job_id_fkey" FOREIGN KEY ("job_id") REFERENCES "jobs"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "multipart_upload_parts" ADD CONSTRAINT "multipart_upload_parts_multipart_upload_id_fkey" FOREIGN KEY ("multipart_upload_id") REFERENCES "multipart_uploads"("id") ON DELETE CASCADE ON UPDATE CASCADE;
