namespace AmbientMesh.ControlPlane.Collections;

/// <summary>A collection as its graph sees it: the three steps of a batch, in this order.</summary>
internal interface ICollectionNode
{
    /// <summary>Brings the collection up to date with its inputs and notes what changed.</summary>
    void Settle();

    /// <summary>Tells subscribers what changed.</summary>
    void Publish();

    /// <summary>Forgets the batch.</summary>
    void EndBatch();
}

/// <summary>Collections that change together. A batch writes to sources; every derived collection then follows, each once, inputs first.</summary>
/// <remarks>Not thread-safe: one writer, see <see cref="CollectionLoop"/>. Subscribers never see a half-applied batch.</remarks>
public sealed class CollectionGraph
{
    private readonly List<ICollectionNode> _nodes = [];   // in order of creation, which is an order of computation: inputs exist before what follows from them
    private bool _inBatch;

    /// <summary>Called when a transformation threw: collection, input key and error. The item keeps its last good outputs; others are not disturbed. When null, the batch fails with the error.</summary>
    public Action<string, object, Exception>? TransformationFailed { get; set; }

    /// <summary>Runs <paramref name="write"/>, which may write to sources, and brings everything up to date with what it wrote.</summary>
    public void Apply(Action write)
    {
        if (_inBatch) throw new InvalidOperationException("A batch is already being applied; a subscriber may not write to a source.");
        _inBatch = true;
        try
        {
            write();
            foreach (var node in _nodes) node.Settle();
            foreach (var node in _nodes) node.Publish();
        }
        finally
        {
            foreach (var node in _nodes) node.EndBatch();
            _inBatch = false;
        }
    }

    internal int Add(ICollectionNode node)
    {
        if (_inBatch) throw new InvalidOperationException("Collections are declared before the first batch, not within one.");
        _nodes.Add(node);
        return _nodes.Count - 1;
    }

    internal void RequireBatch()
    {
        if (!_inBatch) throw new InvalidOperationException("A source is written to within CollectionGraph.Apply.");
    }
}
