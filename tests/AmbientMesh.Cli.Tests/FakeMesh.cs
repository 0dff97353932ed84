using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using AmbientMesh.Cli.CommandLine;
using AmbientMesh.Kubernetes;
using AmbientMesh.Lab.Api.Http;
using AmbientMesh.Lab.Api.Pods;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging.Abstractions;

namespace AmbientMesh.Cli.Tests;

/// <summary>The lab's API server with pods whose ports answer what the test says; meshctl runs against it in this process.</summary>
internal sealed class FakeMesh : IAsyncDisposable, IPodRuntime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("meshctl-").FullName;
    private readonly ConcurrentDictionary<(string Pod, int Port), HttpEndpoint> _ports = new();
    private readonly ConcurrentBag<HttpEndpoint> _opened = [];

    private ApiServer Server { get; } = new(new ApiServerOptions(), TimeProvider.System);
    public KubernetesClient Client { get; private set; } = null!;
    public string Kubeconfig => Path.Combine(_folder, "kubeconfig");
    private string Address => $"https://127.0.0.1:{Server.Addresses[0].Port}";

    public static async Task<FakeMesh> StartAsync()
    {
        var mesh = new FakeMesh();
        mesh.Server.Pods = mesh;
        await mesh.Server.StartAsync(Patience.Token);
        await File.WriteAllTextAsync(mesh.Kubeconfig, mesh.Server.AdminKubeconfig("test", mesh.Address), Patience.Token);
        mesh.Client = new KubernetesClient(KubernetesConnection.Find(mesh.Kubeconfig, _ => null, TimeProvider.System), new KubernetesClientOptions { Name = "test" });
        await mesh.NamespaceAsync("istio-system");
        return mesh;
    }

    /// <summary>A namespace with its account, without which the API server takes no pod.</summary>
    public async Task NamespaceAsync(string name, string labels = "")
    {
        await Client.Of(Namespace.Type).CreateAsync(new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = Map(labels) } }, null, Patience.Token);
        var patience = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (await Client.Of<ServiceAccount>().GetAsync(name, "default", patience) is null) await timer.WaitForNextTickAsync(patience);
    }

    /// <summary>A running, ready pod; labels and annotations as <c>a=b,c=d</c>.</summary>
    public async Task PodAsync(string ns, string name, string labels, string node, string ip = "", string annotations = "", Action<JsonObject>? spec = null)
    {
        var pods = Client.Of(Pod.Type);
        var wanted = new JsonObject { ["serviceAccountName"] = "default", ["nodeName"] = node, ["containers"] = new JsonArray(new JsonObject { ["name"] = "c", ["image"] = "i" }) };
        spec?.Invoke(wanted);
        await pods.CreateAsync(new JsonObject
        {
            ["metadata"] = new JsonObject { ["namespace"] = ns, ["name"] = name, ["labels"] = Map(labels), ["annotations"] = Map(annotations) },
            ["spec"] = wanted,
        }, null, Patience.Token);
        var status = new JsonObject
        {
            ["phase"] = "Running",
            ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = "True" }),
            ["containerStatuses"] = new JsonArray(new JsonObject { ["name"] = "c", ["ready"] = true, ["started"] = true, ["state"] = new JsonObject { ["running"] = new JsonObject() } }),
        };
        if (ip.Length > 0) (status["podIP"], status["podIPs"]) = (ip, new JsonArray(new JsonObject { ["ip"] = ip }));
        await pods.PatchAsync(ns, name, Patch.Merge(new JsonObject { ["status"] = status }), null, Patience.Token, subresource: "status");
    }

    /// <summary>An object of any kind, with its status.</summary>
    public async Task ObjectAsync(ResourceType type, JsonObject o)
    {
        var created = await Client.Of(type).CreateAsync(o, null, Patience.Token);
        if (o["status"] is { } status)
            await Client.Of(type).PatchAsync((string)created["metadata"]!["namespace"]!, (string)created["metadata"]!["name"]!, Patch.Merge(new JsonObject { ["status"] = status.DeepClone() }), null, Patience.Token, subresource: "status");
    }

    /// <summary>Answers of a port: the path with its query gives the body, null is 404.</summary>
    public void Serve(string pod, int port, Func<string, string?> answer)
    {
        var endpoint = HttpEndpoint.Start("fake", HttpEndpoint.Localhost(0, false), (request, _) =>
            ValueTask.FromResult(answer(request.Query.Length > 0 ? $"{request.Path}?{request.Query}" : request.Path) is { } body ? HttpEndpointResponse.Text(200, body) : HttpEndpointResponse.NotFound), NullLogger.Instance, TimeProvider.System);
        _ports[(pod, port)] = endpoint;
        _opened.Add(endpoint);
    }

    /// <summary>Makes the API server serve a namespaced kind of any content.</summary>
    public async Task DefineAsync(string group, string plural, string kind)
    {
        var definition = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = $"{plural}.{group}" },
            ["spec"] = new JsonObject
            {
                ["group"] = group,
                ["scope"] = "Namespaced",
                ["names"] = new JsonObject { ["plural"] = plural, ["singular"] = kind.ToLowerInvariant(), ["kind"] = kind, ["listKind"] = $"{kind}List" },
                ["versions"] = new JsonArray(new JsonObject
                {
                    ["name"] = "v1",
                    ["served"] = true,
                    ["storage"] = true,
                    ["schema"] = new JsonObject { ["openAPIV3Schema"] = new JsonObject { ["type"] = "object", ["x-kubernetes-preserve-unknown-fields"] = true } },
                }),
            },
        };
        await Client.Of(new ResourceType("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", IsNamespaced: false)).CreateAsync(definition, null, Patience.Token);
        var type = new ResourceType(group, "v1", plural, kind, IsNamespaced: true);
        var patience = Patience.Token;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (!await IsServedAsync(type)) await timer.WaitForNextTickAsync(patience);
    }

    private async Task<bool> IsServedAsync(ResourceType type)
    {
        try
        {
            await Client.Of(type).ListAsync(Selection.All, Patience.Token);
            return true;
        }
        catch (KubernetesException e) when (e.IsNotFound)
        {
            return false;
        }
    }

    /// <summary>Runs meshctl as the administrator.</summary>
    public async Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        var surroundings = new Surroundings(output, error, name => name == "KUBECONFIG" ? Kubeconfig : null, TimeProvider.System);
        var code = await MeshctlCommand.RunAsync(arguments, surroundings, Patience.Token);
        return (code, output.ToString(), error.ToString());
    }

    /// <summary>A client whose account may do nothing.</summary>
    public async Task<KubernetesClient> ClientOfNobodyAsync()
    {
        await NamespaceAsync("poor");
        await Client.Of(ServiceAccount.Type).ApplyAsync(JsonNode.Parse("""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"poor","name":"nobody"}}""")!.AsObject(), new WriteOptions { FieldManager = "test" }, Patience.Token);
        var token = await Client.RequestTokenAsync("poor", "nobody", new TokenRequestSpec(), Patience.Token);
        return new KubernetesClient(new KubernetesConnection { Server = new Uri(Address), Authorities = Client.Connection.Authorities, Token = BearerToken.Fixed(token.Token!) });
    }

    public async Task<Stream> ConnectAsync(PodReference pod, int port, CancellationToken cancellationToken)
    {
        if (!_ports.TryGetValue((pod.Name, port), out var endpoint)) throw new IOException($"nobody listens on port {port}");
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(endpoint.EndPoints[0], cancellationToken);
        return new NetworkStream(socket, ownsSocket: true);
    }

    public Task<Stream> OpenLogAsync(PodLogRequest request, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<IExecSession> ExecAsync(PodExecRequest request, CancellationToken cancellationToken) => throw new NotSupportedException();

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await Server.DisposeAsync();
        foreach (var port in _opened) await port.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private static JsonObject Map(string pairs)
    {
        var map = new JsonObject();
        foreach (var pair in pairs.Split(',', StringSplitOptions.RemoveEmptyEntries)) map[pair.Split('=')[0]] = pair.Split('=')[1];
        return map;
    }
}
