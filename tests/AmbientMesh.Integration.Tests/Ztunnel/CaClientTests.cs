using System.Net;
using AmbientMesh.ControlPlane.Tests.Certificates;
using AmbientMesh.Identity;
using AmbientMesh.Model;
using AmbientMesh.Rpc;
using AmbientMesh.Ztunnel.Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The proxy's end of the CA against the control plane's, with its rules of who may ask for whom.</summary>
public sealed class CaClientTests
{
    private static readonly SpiffeId Client = new("cluster.local", "default", "client");

    [Fact, Scenario("L4-140")]
    public async Task A_proxy_for_one_workload_asks_as_itself_and_gets_its_certificate()
    {
        await using var world = await CaWorld.StartAsync();
        world.Api.Review = _ => Reviews.Account("default", "client", "client-1", "uid-of-client-1");
        await using var server = await ServeAsync(world);
        var svid = await new CaClient(server.Channel, TimeSpan.FromHours(24), impersonates: false).FetchAsync(Client, Patience.Token);
        Assert.Equal(Client, svid.Id);
        // Naming itself is naming somebody: only the node proxy may.
        var refusal = await Assert.ThrowsAsync<SvidUnavailableException>(() => new CaClient(server.Channel, TimeSpan.FromHours(24), impersonates: true).FetchAsync(Client, Patience.Token));
        Assert.Contains("request impersonation authentication failure", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_node_proxy_asks_for_the_pods_of_its_node()
    {
        await using var world = await CaWorld.StartAsync();
        await using var server = await ServeAsync(world);
        var svid = await new CaClient(server.Channel, TimeSpan.FromHours(24), impersonates: true).FetchAsync(Client, Patience.Token);
        Assert.Equal(Client, svid.Id);
    }

    private sealed record Served(WebApplication App, RpcChannel Channel) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            Channel.Dispose();
            await App.StopAsync(CancellationToken.None);
            await App.DisposeAsync();
        }
    }

    private static async Task<Served> ServeAsync(CaWorld world)
    {
        var tls = CertificateAuthority.CreateSelfSigned("cluster.local", TimeProvider.System);
        var certificate = tls.IssueServerCertificate(["localhost"], [IPAddress.Loopback], TimeSpan.FromDays(1));
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.UseRpcLimits();
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseRpcTls(() => certificate));
        });
        var app = builder.Build();
        world.Requests.Map(app);
        await app.StartAsync(Patience.Token);
        var bound = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
        return new Served(app, new RpcChannel(new RpcChannelOptions
        {
            Address = new Uri($"https://localhost:{bound.Port}"),
            RootCertificates = () => tls.Roots.Pem,
            CallMetadata = _ =>
            {
                RpcMetadata metadata = [];
                metadata.Add("authorization", $"Bearer {CaWorld.Token}");
                metadata.Add("clusterid", "Kubernetes");
                return ValueTask.FromResult(metadata);
            },
        }));
    }
}
