import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.hdfs.protocol.HdfsConstants.SafeModeAction;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * Name nodes and a data node of HDFS in one process, with WebHDFS. Arguments: a folder, how many name nodes there are, and for Kerberos
 * a keytab and a realm. Prints READY, a port for commands and the name nodes' HTTP ports. A command is a line of its own connection, which
 * is answered with OK or why not.
 */
public class MiniCluster {
  private final MiniDFSCluster cluster;
  private int active = 0;

  public static void main(String[] args) throws Exception {
    Configuration conf = new Configuration();
    conf.set("hdfs.minidfs.basedir", new File(args[0]).getAbsolutePath());
    conf.setInt("dfs.replication", 1);
    conf.setInt("dfs.heartbeat.interval", 1);
    conf.setInt("dfs.client.block.write.locateFollowingBlock.initial.delay.ms", 5);
    conf.setInt("dfs.client.block.write.locateFollowingBlock.retries", 11);
    conf.set("dfs.client.failover.proxy.provider.minidfs-ns", "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider");
    if (args.length > 2) secure(conf, args[2], args[3]);
    new MiniCluster(conf, Integer.parseInt(args[1])).run();
  }

  private static void secure(Configuration conf, String keytab, String realm) throws Exception {
    String service = "hdfs/localhost@" + realm;
    String web = "HTTP/localhost@" + realm;
    conf.set("hadoop.security.authentication", "kerberos");
    conf.set("hadoop.security.auth_to_local", "DEFAULT");
    for (String node : new String[] {"namenode", "datanode"}) {
      conf.set("dfs." + node + ".kerberos.principal", service);
      conf.set("dfs." + node + ".keytab.file", keytab);
    }
    conf.set("dfs.web.authentication.kerberos.principal", web);
    conf.set("dfs.web.authentication.kerberos.keytab", keytab);
    conf.set("hadoop.http.authentication.type", "kerberos");
    conf.set("hadoop.http.authentication.kerberos.principal", web);
    conf.set("hadoop.http.authentication.kerberos.keytab", keytab);
    conf.set("hadoop.http.filter.initializers", "org.apache.hadoop.hdfs.web.AuthFilterInitializer");
    conf.setBoolean("dfs.block.access.token.enable", true);
    conf.setBoolean("ignore.secure.ports.for.testing", true);
    conf.set("dfs.data.transfer.protection", "authentication");
    UserGroupInformation.setConfiguration(conf);
    UserGroupInformation.loginUserFromKeytab(service, keytab);
  }

  private MiniCluster(Configuration conf, int nameNodes) throws Exception {
    cluster =
        new MiniDFSCluster.Builder(conf)
            .nnTopology(nameNodes > 1 ? MiniDFSNNTopology.simpleHATopology(nameNodes) : MiniDFSNNTopology.simpleSingleNN(0, 0))
            .numDataNodes(1)
            .checkDataNodeHostConfig(true)
            .format(true)
            .build();
    if (nameNodes > 1) cluster.transitionToActive(0);
    cluster.waitActive(active);
    files().setPermission(new Path("/"), new FsPermission((short) 0777));
  }

  private DistributedFileSystem files() throws Exception {
    return cluster.getFileSystem(active);
  }

  private void run() throws Exception {
    ServerSocket commands = new ServerSocket(0, 10, InetAddress.getLoopbackAddress());
    StringBuilder ports = new StringBuilder("READY " + commands.getLocalPort());
    for (int i = 0; i < cluster.getNumNameNodes(); i++) ports.append(' ').append(cluster.getNameNode(i).getHttpAddress().getPort());
    System.out.println(ports);
    while (true) {
      try (Socket caller = commands.accept()) {
        String line = new BufferedReader(new InputStreamReader(caller.getInputStream())).readLine();
        String answer;
        try {
          answer = "OK" + obey(line.split(" "));
        } catch (Exception error) {
          answer = line + ": " + error;
        }
        new PrintStream(caller.getOutputStream()).println(answer);
      }
    }
  }

  private String obey(String[] words) throws Exception {
    if (words[0].equals("list")) return list(new Path(URLDecoder.decode(words[1], StandardCharsets.UTF_8)));
    switch (words[0]) {
      case "active" -> {
        int next = Integer.parseInt(words[1]);
        if (active != next && cluster.getNameNode(active) != null) cluster.transitionToStandby(active);
        cluster.transitionToActive(next);
        active = next;
        cluster.waitActive(next);
      }
      case "stop" -> cluster.shutdownNameNode(Integer.parseInt(words[1]));
      case "start" -> cluster.restartNameNode(Integer.parseInt(words[1]), cluster.getNumNameNodes() == 1);
      case "safemode" -> files().setSafeMode(words[1].equals("on") ? SafeModeAction.SAFEMODE_ENTER : SafeModeAction.SAFEMODE_LEAVE);
      case "quota" -> files().setQuota(new Path(words[1]), Long.parseLong(words[2]), Long.parseLong(words[3]));
      case "mode" -> {
        files().mkdirs(new Path(words[1]));
        files().setPermission(new Path(words[1]), new FsPermission(Short.parseShort(words[2], 8)));
      }
      default -> throw new IllegalArgumentException("unknown command");
    }
    return "";
  }

  /** Everything below a folder, percent-encoded, with a space before each. */
  private String list(Path folder) throws Exception {
    if (!files().exists(folder)) return "";
    StringBuilder found = new StringBuilder();
    for (FileStatus child : files().listStatus(folder)) {
      found.append(' ').append(URLEncoder.encode(child.getPath().toUri().getPath(), StandardCharsets.UTF_8));
      if (child.isDirectory()) found.append(list(child.getPath()));
    }
    return found.toString();
  }
}
