namespace AmbientMesh.EndToEnd.Tests;

/// <summary>Names as an enrolled pod's resolver sees them, beside what the cluster's DNS says when it is asked directly.</summary>
public sealed class DnsTests(ClusterFixture cluster)
{
    private const string Switch = "ambient.istio.io/dns-capture";

    // Answered, authoritative, recursion desired and available: what the proxy says of the mesh's names.
    private const string FromMesh = "00008580";

    private static async Task<Dictionary<string, string>> AskAsync(TestNamespace from, params string[] questions)
    {
        var result = await from.InClientAsync(["resolve", .. questions]);
        Assert.True(result.Succeeded, result.Output + result.Errors);
        return result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Trim().Split(' ', 2)).ToDictionary(words => words[0], words => words[1]);
    }

    [Fact]
    public async Task Names_the_mesh_does_not_own_are_answered_as_the_clusters_dns_answers_them_byte_for_byte()
    {
        await using var inside = await TestNamespace.CreateAsync(cluster, "names", ambient: true);
        await using var outside = await TestNamespace.CreateAsync(cluster, "direct");
        await inside.DeployShopAsync(replicas: 1);
        await outside.DeployShopAsync(replicas: 1);
        await inside.EnrolledAsync();
        var ip = (await cluster.Run.MustKubectlAsync(Patience.Token, "get", "service", "server", "-n", inside.Name, "-o", "jsonpath={.spec.clusterIP}")).Trim();
        var pod = (await inside.PodsAsync()).First(p => p.App == "server").Addresses.First(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork);
        var service = $"server.{inside.Name}.svc.cluster.local";
        string[] names =
        [
            $"nosuch.{inside.Name}.svc.cluster.local/a", $"nosuch.{inside.Name}.svc.cluster.local/aaaa", $"nosuch.{inside.Name}.svc.cluster.local/a/edns=1232", "www.unknown.example/a",
            $"_http._tcp.{service}/srv", $"_tcp._tcp.{service}/srv/edns=4096", $"_nosuch._tcp.{service}/srv", $"{service}/txt", $"{service}/mx", $"{service}/soa", $"{service}/any",
            $"{string.Join('.', ip.Split('.').Reverse())}.in-addr.arpa/ptr", "9.9.9.9.in-addr.arpa/ptr", $"{pod.ToString().Replace('.', '-')}.{inside.Name}.pod.cluster.local/a",
            "dns-version.cluster.local/txt", "cluster.local/soa", "kubernetes.default.svc.cluster.local/txt",
            "big.records.lab/txt", "big.records.lab/txt/edns=1232", "big.records.lab/txt/edns=4096", "mail.records.lab/mx", "alias.records.lab/a", "alias.records.lab/aaaa", "alias.records.lab/cname", "none.records.lab/a", "records.lab/soa",
        ];
        string[] questions = [.. names, .. names.Where(name => !name.Contains("edns=", StringComparison.Ordinal)).Select(name => name + "/tcp")];

        var direct = await AskAsync(outside, questions);
        var through = await AskAsync(inside, questions);

        Assert.Equal(questions.Length, direct.Count);
        Assert.All(questions, question => Assert.True(direct[question] == through[question], $"{question}\n directly {direct[question]}\n through the proxy {through[question]}"));
        // The comparison must have seen what it is about.
        if (cluster.IsLab)
        {
            Assert.Equal("8780", direct["big.records.lab/txt"][4..8]);   // truncated
            Assert.True(direct["big.records.lab/txt/tcp"].Length > 2 * 3500 && direct["big.records.lab/txt/edns=4096"].Length > 2 * 3500, "large answers are whole over TCP and with EDNS");
        }
        Assert.All(direct.Where(pair => pair.Key.StartsWith("nosuch", StringComparison.Ordinal)), pair => Assert.Equal('3', pair.Value[7]));
    }

    [Fact]
    [Scenario("L4-110", "L4-111", "L4-112", "L4-114")]
    public async Task Names_of_services_are_answered_by_the_mesh()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "own", ambient: true);
        await using var other = await TestNamespace.CreateAsync(cluster, "other");
        await shop.DeployShopAsync(replicas: 1);
        await other.ApplyAsync("""
            apiVersion: v1
            kind: Service
            metadata: {name: example}
            spec: {selector: {app: example}, ports: [{name: http, port: 80}]}
            """);
        await shop.EnrolledAsync();
        var (own, theirs) = (await AddressAsync(shop, "server"), await AddressAsync(other, "example"));
        await EventuallyAsync(async () => (await AskAsync(shop, $"example.{other.Name}.svc/a"))[$"example.{other.Name}.svc/a"].EndsWith(theirs, StringComparison.Ordinal), "the other service is known");

        string[] names = ["server/a", $"server.{shop.Name}/a/tcp", $"server.{shop.Name}.svc.cluster.local/a"];
        var answers = await AskAsync(shop, [.. names, "example/a", $"server.{shop.Name}/aaaa"]);

        Assert.All(names, name => Assert.StartsWith(FromMesh, answers[name], StringComparison.Ordinal));
        Assert.All(names, name => Assert.EndsWith("0000001E0004" + own, answers[name], StringComparison.Ordinal));
        Assert.Equal('3', answers["example/a"][7]);
        Assert.StartsWith(FromMesh, answers[$"server.{shop.Name}/aaaa"], StringComparison.Ordinal);
    }

    [Fact]
    [Scenario("L4-124")]
    public async Task Capture_is_switched_off_and_on_for_a_namespace_and_a_pod_that_run()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "switch", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var client = (await shop.PodsAsync()).Single(p => p.App == "client");
        Task CapturedAsync(bool captured) => EventuallyAsync(async () =>
        {
            // The short name alone is one only the mesh knows.
            var answer = (await AskAsync(shop, "server/a"))["server/a"];
            return captured ? answer.StartsWith(FromMesh, StringComparison.Ordinal) : answer[7] == '3';
        }, $"captured: {captured}");
        await CapturedAsync(true);

        await cluster.Run.MustKubectlAsync(Patience.Token, "annotate", "namespace", shop.Name, $"{Switch}=false");
        await CapturedAsync(false);
        Assert.True((await shop.InClientAsync("get", shop.ServerUrl("still-captured"))).Succeeded);   // other captures go on

        await cluster.Run.MustKubectlAsync(Patience.Token, "annotate", "pod", "-n", shop.Name, client.Name, $"{Switch}=true");
        await CapturedAsync(true);
        await cluster.Run.MustKubectlAsync(Patience.Token, "annotate", "pod", "-n", shop.Name, client.Name, $"{Switch}=false", "--overwrite");
        await CapturedAsync(false);
        Assert.Equal(client.StartedAt, (await shop.PodsAsync()).Single(p => p.App == "client").StartedAt);
    }

    [Fact]
    [Scenario("L4-060")]
    public async Task A_host_without_address_gets_one_of_the_mesh_by_which_its_pods_are_reached_until_it_is_deleted()
    {
        await using var shop = await TestNamespace.CreateAsync(cluster, "entry", ambient: true);
        await shop.DeployShopAsync(replicas: 1);
        await shop.EnrolledAsync();
        var host = $"{shop.Name}.example.com";
        Assert.Equal('3', (await AskAsync(shop, $"{host}/a"))[$"{host}/a"][7]);

        await shop.ApplyAsync($$$"""
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: shop}
            spec:
              hosts: [{{{host}}}]
              location: MESH_INTERNAL
              resolution: STATIC
              ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
              workloadSelector: {labels: {app: server}}
            """);
        await EventuallyAsync(async () => (await shop.InClientAsync("get", $"http://{host}/by-entry")).Succeeded, "the host leads to the server");
        var answer = (await AskAsync(shop, $"{host}/a"))[$"{host}/a"];
        Assert.StartsWith(FromMesh, answer, StringComparison.Ordinal);
        var assigned = await cluster.Run.MustKubectlAsync(Patience.Token, "get", "serviceentry", "shop", "-n", shop.Name, "-o", "jsonpath={.status.addresses[*].value}");
        Assert.Contains(assigned.Split(' ', StringSplitOptions.RemoveEmptyEntries), address => answer.EndsWith(Hex(address), StringComparison.Ordinal));
        var server = (await shop.PodsAsync()).Single(p => p.App == "server");
        Assert.Contains(server.Name, (await shop.InClientAsync("get", $"http://{host}/by-entry")).Output, StringComparison.Ordinal);

        await cluster.Run.MustKubectlAsync(Patience.Token, "delete", "serviceentry", "shop", "-n", shop.Name);
        await EventuallyAsync(async () => (await AskAsync(shop, $"{host}/a"))[$"{host}/a"][7] == '3', "the name is gone");
        Assert.False((await shop.InClientAsync("get", $"http://{host}/gone")).Succeeded);
    }

    private async Task<string> AddressAsync(TestNamespace ns, string service) =>
        Hex((await cluster.Run.MustKubectlAsync(Patience.Token, "get", "service", service, "-n", ns.Name, "-o", "jsonpath={.spec.clusterIP}")).Trim());

    private static string Hex(string address) => Convert.ToHexString(System.Net.IPAddress.Parse(address).GetAddressBytes());

    // What a resolver sees has no event to wait for.
    private static async Task EventuallyAsync(Func<Task<bool>> holds, string what)
    {
        var limit = Patience.Token;
        while (!await holds())
            if (limit.IsCancellationRequested) throw new TimeoutException($"never came true: {what}");
    }
}
