using System.Globalization;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>The few manifests that the tests deploy.</summary>
internal static class Manifests
{
    public const string Image = "localhost/ambientmesh/samples:dev";

    public static string Server(int replicas) => string.Create(CultureInfo.InvariantCulture, $$$$"""
        apiVersion: v1
        kind: ServiceAccount
        metadata: {name: server}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: server}
        spec:
          selector: {app: server}
          ports:
          - {name: http, port: 80, targetPort: http}
          - {name: tcp, port: 9090}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: server}
        spec:
          replicas: {{{{replicas}}}}
          selector: {matchLabels: {app: server}}
          template:
            metadata: {labels: {app: server}}
            spec:
              serviceAccountName: server
              terminationGracePeriodSeconds: 4
              affinity:
                podAntiAffinity:
                  preferredDuringSchedulingIgnoredDuringExecution:
                  - weight: 100
                    podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: server}}}
              containers:
              - name: server
                image: {{{{Image}}}}
                command: [/app/samples, serve, --http, "8080", --tcp, "9090", --linger-ms, "1500"]
                ports:
                - {name: http, containerPort: 8080}
                - {name: tcp, containerPort: 9090}
                readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        """);

    public const string Client = $$$$"""
        apiVersion: v1
        kind: ServiceAccount
        metadata: {name: client}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: client}
        spec:
          selector: {matchLabels: {app: client}}
          template:
            metadata: {labels: {app: client}}
            spec:
              serviceAccountName: client
              terminationGracePeriodSeconds: 4
              containers:
              - name: client
                image: {{{{Image}}}}
                command: [/app/samples, loop, "http://server.NAMESPACE.svc.cluster.local/loop", --interval-ms, "500"]
        """;

    /// <summary>A telemetry collector that keeps what it is sent.</summary>
    public const string Collector = $$$$"""
        apiVersion: v1
        kind: Service
        metadata: {name: collector}
        spec: {selector: {app: collector}, ports: [{name: otlp, port: 4318}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: collector, labels: {app: collector}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: collector
            image: {{{{Image}}}}
            command: [/app/samples, collect, --http, "4318"]
            readinessProbe: {httpGet: {path: /v1/traces, port: 4318}, periodSeconds: 1}
        """;

    /// <summary>One pod that only serves; <paramref name="extra"/> is put under <c>metadata</c>, <paramref name="spec"/> under <c>spec</c>.</summary>
    public static string Pod(string name, string extra = "", string spec = "") => $$$$"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {{{{name}}}}
          labels: {app: {{{{name}}}}}
          {{{{extra}}}}
        spec:
          terminationGracePeriodSeconds: 1
          {{{{spec}}}}
          containers:
          - name: server
            image: {{{{Image}}}}
            command: [/app/samples, serve, --http, "8080", --tcp, "9090", --linger-ms, "1500"]
        """;
}
