using System.Threading.Channels;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>Runs the controllers that belong to the API itself, one change at a time, in the order of the writes.</summary>
public sealed class ClusterUpkeep : IAsyncDisposable
{
    private readonly Channel<Change> _changes = Channel.CreateUnbounded<Change>(new UnboundedChannelOptions { SingleReader = true });
    private readonly ClusterStore _store;
    private readonly GarbageCollection _garbage;
    private readonly NamespaceContents _namespaces;
    private readonly DefinitionServing _definitions;
    private readonly RoleAggregation _roles;
    private Task? _running;

    public ClusterUpkeep(ClusterStore store, string authorityPem)
    {
        _store = store;
        _garbage = new GarbageCollection(store);
        _namespaces = new NamespaceContents(store, authorityPem);
        _definitions = new DefinitionServing(store);
        _roles = new RoleAggregation(store);
        foreach (var change in store.Existing()) _changes.Writer.TryWrite(change);
        store.Changed += c => _changes.Writer.TryWrite(c);
    }

    public void Start() => _running = Task.Run(RunAsync);

    private async Task RunAsync()
    {
        await foreach (var change in _changes.Reader.ReadAllAsync())
        {
            try
            {
                _definitions.Observe(change);
                _namespaces.Observe(change);
                _garbage.Observe(change);
                _roles.Observe(change);
            }
            catch (ApiException e)
            {
                // The object changed underneath; its newer state comes through the same channel.
                if (!e.IsNotFound && !e.IsConflict && !e.IsAlreadyExists)
                    await Console.Error.WriteLineAsync($"cluster upkeep: {change.Resource} {change.Object.Namespace()}/{change.Object.Name()}: {e.Message}");
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        _changes.Writer.TryComplete();
        if (_running is not null) await _running;
    }
}
