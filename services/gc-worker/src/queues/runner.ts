/** What hands due jobs to the engine. It is a doorbell: losing what it holds loses no job. */
export interface Runner extends AsyncDisposable {
  /** Asks for the job to be run soon, here or in another worker. Never rejects. @returns whether the doorbell took it. */
  ring(jobId: string): Promise<boolean>
  /** @throws when jobs handed over now would not be run. */
  ready(): Promise<void>
}
