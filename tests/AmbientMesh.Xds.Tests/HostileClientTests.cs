using AmbientMesh.Protocol.Discovery;
using AmbientMesh.Protocol.Rpc;
using AmbientMesh.Rpc;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Xds.Tests;

/// <summary>Requests no decent client sends.</summary>
public sealed class HostileClientTests
{
    private static readonly string[] Names = ["*", "", "/10.0.0.1", "/10.9.9.9", "Kubernetes//Pod/default/a", "Kubernetes//Pod/default/b", "default/web", "; ", ": "];

    /// <summary>Any sequence of requests is survived, and afterwards the stream still carries the truth.</summary>
    [Fact]
    public void Any_sequence_of_requests_is_survived() => Prop.ForAll(Gen.Choose(0, int.MaxValue).ToArbitrary(), seed =>
    {
        var random = new System.Random(seed);
        var table = new ResourceTable(TypeUrls.Address);
        var session = new DeltaSession([table], Loopback.Node(), new DeltaRequestLimits { MaxNames = 4 });
        List<string> nonces = ["", "bogus"];
        for (var i = 0; i < 80; i++)
        {
            if (random.Next(4) == 0) table.Update([Loopback.Workload(random.Next(2) == 0 ? "a" : "b", ip: "10.0.0.1", revision: $"v{random.Next(3)}")], random.Next(2) == 0 ? ["Kubernetes//Pod/default/a"] : []);
            session.Receive(AnyRequest(random, nonces));
            foreach (var response in session.Due())
            {
                Assert.Equal(response.Resources.Count, response.Resources.Select(r => r.Name).Distinct().Count());
                nonces.Add(response.Nonce);
            }
        }
        foreach (var nonce in nonces) session.Receive(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResponseNonce = nonce });
        foreach (var response in session.Due()) session.Receive(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResponseNonce = response.Nonce });
        session.Receive(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResourceNamesSubscribe = { "Kubernetes//Pod/default/a" } });
        var answer = session.Due().Single();
        return answer.Resources.Any(r => r.Name == "Kubernetes//Pod/default/a") == table.Current.Resources.ContainsKey("Kubernetes//Pod/default/a");
    }).QuickCheckThrowOnFailure();

    [Fact]
    public async Task Bad_streams_end_alone_while_a_good_one_goes_on()
    {
        await using var server = await Loopback.StartAsync(new DeltaDiscoveryOptions { Rpc = new RpcServerOptions { MaxReceiveBytes = 10_000 } });
        using var channel = server.Channel();
        await using var good = await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: Patience.Token);
        await good.WriteAsync(new DeltaDiscoveryRequest { Node = Loopback.Node(), TypeUrl = TypeUrls.Address }, Patience.Token);
        Assert.NotNull(await good.ReadAsync(Patience.Token));

        await using var huge = await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: Patience.Token);
        await huge.WriteAsync(new DeltaDiscoveryRequest { Node = Loopback.Node(), TypeUrl = new string('x', 20_000) }, Patience.Token);
        Assert.Equal(StatusCode.ResourceExhausted, (await Assert.ThrowsAsync<RpcException>(async () => await huge.ReadAsync(Patience.Token))).Code);

        await using var left = await channel.DuplexAsync(MeshMethods.DeltaAggregatedResources, cancellationToken: Patience.Token);
        await left.WriteAsync(new DeltaDiscoveryRequest { Node = Loopback.Node(), TypeUrl = TypeUrls.Address }, Patience.Token);
        await left.CompleteAsync();
        while (await left.ReadAsync(Patience.Token) is not null) { }   // a client that finishes gets OK

        server.Address.Update([Loopback.Workload("a")]);
        await good.WriteAsync(new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address, ResponseNonce = "1" }, Patience.Token);
        Assert.Equal("Kubernetes//Pod/default/a", (await good.ReadAsync(Patience.Token))!.Resources.Single().Name);
        Assert.Single(server.Server.Clients);
    }

    private static DeltaDiscoveryRequest AnyRequest(System.Random random, List<string> nonces)
    {
        var request = new DeltaDiscoveryRequest { TypeUrl = TypeUrls.Address };
        for (var i = random.Next(3); i > 0; i--) request.ResourceNamesSubscribe.Add(Names[random.Next(Names.Length)]);
        for (var i = random.Next(3); i > 0; i--) request.ResourceNamesUnsubscribe.Add(Names[random.Next(Names.Length)]);
        for (var i = random.Next(3); i > 0; i--) request.InitialResourceVersions[Names[random.Next(Names.Length)]] = random.Next(2) == 0 ? "" : "v";
        request.ResponseNonce = nonces[random.Next(nonces.Count)];
        if (random.Next(3) == 0) request.ErrorDetail = new Status { Message = string.Join(random.Next(2) == 0 ? "; " : ": ", Names.OrderBy(_ => random.Next()).Take(3)) };
        return request;
    }
}
