import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.mlflow.api.proto.Service.Experiment;
import org.mlflow.api.proto.Service.Metric;
import org.mlflow.api.proto.Service.Param;
import org.mlflow.api.proto.Service.Run;
import org.mlflow.api.proto.Service.RunInfo;
import org.mlflow.api.proto.Service.RunStatus;
import org.mlflow.api.proto.Service.RunTag;
import org.mlflow.api.proto.Service.ViewType;
import org.mlflow.tracking.ActiveRun;
import org.mlflow.tracking.ExperimentsPage;
import org.mlflow.tracking.MlflowClient;
import org.mlflow.tracking.MlflowClientException;
import org.mlflow.tracking.MlflowContext;
import org.mlflow.tracking.RunsPage;

/** What a Java user does; the argument is the tracking URI. Prints "done". */
public class Session {
  public static void main(String[] args) throws Exception {
    try (MlflowClient client = new MlflowClient(args[0])) {
      String experimentId = experiments(client);
      String runId = runs(client, experimentId);
      artifacts(client, runId);
      searches(client, experimentId);
      context(client, experimentId);
      client.deleteRun(runId);
      check(client.getRun(runId).getInfo().getLifecycleStage().equals("deleted"), "deleted");
      client.restoreRun(runId);
      check(client.getRun(runId).getInfo().getLifecycleStage().equals("active"), "restored");
      client.deleteExperiment(experimentId);
      check(client.getExperiment(experimentId).getLifecycleStage().equals("deleted"), "experiment deleted");
      client.restoreExperiment(experimentId);
    }
    System.out.println("done");
  }

  private static String experiments(MlflowClient client) {
    String id = client.createExperiment("java");
    check(client.getExperimentByName("java").get().getExperimentId().equals(id), "by name");
    check(client.getExperimentByName("java-nope").equals(Optional.empty()), "by unknown name");
    client.setExperimentTag(id, "k", "v");
    Experiment got = client.getExperiment(id);
    check(got.getTagsCount() == 1 && got.getTags(0).getValue().equals("v"), "experiment tag");
    client.renameExperiment(id, "java-renamed");
    List<String> names = new ArrayList<>();
    ExperimentsPage page = client.searchExperiments("name LIKE 'java%'", ViewType.ACTIVE_ONLY, 1, List.of("name ASC"));
    while (true) {
      page.getItems().forEach(e -> names.add(e.getName()));
      if (!page.hasNextPage()) break;
      page = (ExperimentsPage) page.getNextPage();
    }
    check(names.equals(List.of("java-renamed")), "search experiments " + names);
    refused(() -> client.createExperiment("java-renamed"), "RESOURCE_ALREADY_EXISTS");
    return id;
  }

  private static String runs(MlflowClient client, String experimentId) {
    RunInfo info = client.createRun(experimentId);
    String runId = info.getRunId();
    client.logParam(runId, "lr", "0.1");
    client.logParam(runId, "größe", "日本");
    for (int i = 0; i < 5; i++) client.logMetric(runId, "loss", 1.0 / (i + 1), 1000L + i, i);
    client.logMetric(runId, "nan", Double.NaN);
    client.logMetric(runId, "inf", Double.POSITIVE_INFINITY);
    client.setTag(runId, "t", "1");
    client.setTag(runId, "gone", "1");
    client.deleteTag(runId, "gone");
    List<Metric> metrics =
        IntStream.range(0, 100)
            .mapToObj(i -> Metric.newBuilder().setKey("b").setValue(i / 3.0).setTimestamp(i).setStep(i).build())
            .collect(Collectors.toList());
    List<Param> params = List.of(Param.newBuilder().setKey("p").setValue("q").build());
    List<RunTag> tags = List.of(RunTag.newBuilder().setKey("bt").setValue("bv").build());
    client.logBatch(runId, metrics, params, tags);
    List<Metric> history = client.getMetricHistory(runId, "loss");
    check(history.size() == 5 && history.get(4).getValue() == 0.2 && history.get(4).getStep() == 4, "history");
    client.setTerminated(runId, RunStatus.FINISHED, 9999L);
    Run run = client.getRun(runId);
    check(run.getInfo().getStatus() == RunStatus.FINISHED && run.getInfo().getEndTime() == 9999L, "status");
    Map<String, String> gotParams = run.getData().getParamsList().stream().collect(Collectors.toMap(Param::getKey, Param::getValue));
    check(gotParams.equals(Map.of("lr", "0.1", "größe", "日本", "p", "q")), "params " + gotParams);
    Map<String, Double> got = run.getData().getMetricsList().stream().collect(Collectors.toMap(Metric::getKey, Metric::getValue));
    check(got.get("loss") == 0.2 && got.get("b") == 33.0 && got.get("nan").isNaN() && got.get("inf") > 1e308, "metrics " + got);
    check(run.getData().getTagsList().stream().noneMatch(t -> t.getKey().equals("gone")), "deleted tag");
    refused(() -> client.getRun("0123456789abcdef0123456789abcdef"), "RESOURCE_DOES_NOT_EXIST");
    refused(() -> client.logParam(runId, "lr", "0.2"), "INVALID_PARAMETER_VALUE");
    return runId;
  }

  /** The Java client hands artifacts to the Python client on PATH. */
  private static void artifacts(MlflowClient client, String runId) throws Exception {
    Path file = Files.createTempDirectory("java").resolve("a.txt");
    Files.writeString(file, "from java");
    client.logArtifact(runId, file.toFile(), "notes");
    check(client.listArtifacts(runId, "notes").get(0).getPath().equals("notes/a.txt"), "list");
    check(Files.readString(client.downloadArtifacts(runId, "notes/a.txt").toPath()).equals("from java"), "download");
  }

  private static void searches(MlflowClient client, String experimentId) {
    for (int i = 0; i < 9; i++) {
      String runId = client.createRun(experimentId).getRunId();
      client.logMetric(runId, "acc", i / 10.0);
      client.logParam(runId, "n", Integer.toString(i));
    }
    List<String> seen = new ArrayList<>();
    RunsPage page = client.searchRuns(List.of(experimentId), "metrics.acc >= 0.2", ViewType.ACTIVE_ONLY, 3, List.of("metrics.acc DESC"));
    while (true) {
      for (Run run : page.getItems()) seen.add(run.getData().getParams(0).getValue());
      if (!page.hasNextPage()) break;
      page = (RunsPage) page.getNextPage();
    }
    check(seen.equals(List.of("8", "7", "6", "5", "4", "3", "2")), "search " + seen);
    check(client.searchRuns(List.of(experimentId), "params.n = '4'").size() == 1, "search by param");
    refused(() -> client.searchRuns(List.of(experimentId), "nonsense ="), "INVALID_PARAMETER_VALUE");
  }

  private static void context(MlflowClient client, String experimentId) {
    MlflowContext context = new MlflowContext(client);
    context.setExperimentId(experimentId);
    ActiveRun run = context.startRun("fluent");
    run.logMetrics(Map.of("a", 1.0, "b", 2.0), 3);
    run.logParams(Map.of("x", "1", "y", "2"));
    run.setTags(Map.of("z", "3"));
    run.endRun();
    Run got = client.getRun(run.getId());
    check(got.getInfo().getStatus() == RunStatus.FINISHED && got.getData().getMetricsCount() == 2, "fluent run");
    check(got.getData().getTagsList().stream().anyMatch(t -> t.getKey().equals("mlflow.runName") && t.getValue().equals("fluent")), "run name");
  }

  private static void refused(Runnable call, String code) {
    try {
      call.run();
    } catch (MlflowClientException e) {
      check(e.getMessage().contains(code), e.getMessage() + " is not " + code);
      return;
    }
    throw new AssertionError("not refused: " + code);
  }

  private static void check(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }
}
