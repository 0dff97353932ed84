namespace AmbientMesh.ControlPlane.Tests.Serving;

/// <summary>Kubernetes objects that give the resources of the recorded ztunnel sessions: client and server on node n1, other on n2, service server.</summary>
internal static class SampleMesh
{
    public static string Yaml => string.Join("---\n",
    [
        Pod("client", "n1", "10.98.0.1", "fd98::1"),
        Pod("server", "n1", "10.98.0.2", "fd98::2"),
        Pod("other", "n2", "10.98.0.3", null),
        Service("server", "10.198.0.2"),
        Service("hb", "10.198.0.5"),
        Pod("hb", "n2", "10.98.0.5", "fd98::5"),
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: ztunnel-abcde, namespace: istio-system, uid: zt-uid, labels: {app: ztunnel}}
        spec: {nodeName: n1, serviceAccountName: ztunnel}
        status: {phase: Running, podIP: 10.98.0.100, conditions: [{type: Ready, status: "True"}]}

        """,
    ]);

    public static string Pod(string name, string node, string ipv4, string? ipv6, bool ready = true) =>
        $$"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {{name}}
          namespace: default
          labels: {app: {{name}}, version: v1}
          annotations: {ambient.istio.io/redirection: enabled}
        spec: {nodeName: {{node}}, serviceAccountName: {{name}}}
        status:
          phase: Running
          podIP: {{ipv4}}
          podIPs: [{ip: {{ipv4}}}{{(ipv6 is null ? "" : $", {{ip: \"{ipv6}\"}}")}}]
          conditions: [{type: Ready, status: "{{ready}}"}]

        """;

    public static string Service(string name, string vip) =>
        $$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{name}}, namespace: default}
        spec: {clusterIP: {{vip}}, clusterIPs: [{{vip}}], selector: {app: {{name}}}, ports: [{port: 80, targetPort: 8080}]}

        """;
}
