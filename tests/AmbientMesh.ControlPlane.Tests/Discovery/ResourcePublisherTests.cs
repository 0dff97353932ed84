using AmbientMesh.ControlPlane.Collections;
using AmbientMesh.ControlPlane.Discovery;
using AmbientMesh.ControlPlane.Tests.Translation;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Tests.Discovery;

public sealed class ResourcePublisherTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _clock = new();
    private readonly TranslationWorld _world = new();
    private readonly CollectionLoop _loop;
    private readonly ResourcePublisher _publisher;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Publication> _published = [];
    private readonly Task _running;

    public ResourcePublisherTests()
    {
        _loop = new CollectionLoop(_world.Graph);
        _publisher = new ResourcePublisher(_world.Mesh, _loop, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(10), _clock) { Published = _published.Add };
        _running = Task.Run(() => _loop.RunAsync(_stop.Token), CancellationToken.None);
    }

    private static Pod PodOf(string name, string ip) => new()
    {
        Metadata = new ObjectMeta { Name = name, Namespace = "shop" },
        Spec = new PodSpec { NodeName = "n1" },
        Status = new PodStatus { Phase = "Running", PodIP = ip },
    };

    private Task SettledAsync() => Patience.Within(_loop.ReadAsync(() => true, Patience.Token));

    private async Task PutAsync(Pod pod)
    {
        _loop.Post(() => _world.Mesh.Pods.Set(pod.Key, pod));
        await SettledAsync();
    }

    private async Task PassAsync(int milliseconds)
    {
        _clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
        await SettledAsync();
    }

    [Fact]
    public async Task Nothing_is_published_before_it_is_opened_and_then_everything_at_once()
    {
        await PutAsync(PodOf("a", "10.0.0.1"));
        await PassAsync(60_000);
        Assert.Empty(_publisher.Addresses.Current.Resources);
        _loop.PostRead(_publisher.Open);
        await SettledAsync();
        Assert.Equal(["Kubernetes//Pod/shop/a"], _publisher.Addresses.Current.Resources.Keys);
        Assert.Equal(["Kubernetes//Pod/shop/a"], _publisher.Workloads.Current.Resources.Keys);
    }

    [Fact]
    public async Task Changes_that_come_together_are_one_publication()
    {
        _loop.PostRead(_publisher.Open);
        await PutAsync(PodOf("a", "10.0.0.1"));
        await PassAsync(60);
        await PutAsync(PodOf("b", "10.0.0.2"));
        await PassAsync(60);
        Assert.Empty(_publisher.Addresses.Current.Resources);
        await PassAsync(40);
        Assert.Equal(2, _publisher.Addresses.Current.Resources.Count);
        Assert.Equal([0.0, 160.0], _published.Select(p => p.Waited.TotalMilliseconds));
    }

    [Fact]
    public async Task An_authorization_is_published_without_a_version_and_taken_back()
    {
        _loop.PostRead(_publisher.Open);
        _loop.Post(() => _world.Mesh.Policies.AuthorizationPolicies.Set(new ObjectKey("shop", "deny"), (System.Text.Json.Nodes.JsonObject)System.Text.Json.Nodes.JsonNode.Parse("""{"metadata":{"namespace":"shop","name":"deny"},"spec":{}}""")!));
        await SettledAsync();
        await PassAsync(100);
        Assert.Equal("", _publisher.Authorizations.Current.Resources["shop/deny"].Version);
        _loop.Post(() => _world.Mesh.Policies.AuthorizationPolicies.Remove(new ObjectKey("shop", "deny")));
        await SettledAsync();
        await PassAsync(100);
        Assert.Empty(_publisher.Authorizations.Current.Resources);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _publisher.Dispose();
        _stop.Dispose();
    }
}
