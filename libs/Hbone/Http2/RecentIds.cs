namespace AmbientMesh.Hbone.Http2;

/// <summary>The last ids added, for telling late frames of streams we reset (ignored) from frames of streams long gone (errors). Bounded.</summary>
internal sealed class RecentIds(int capacity)
{
    private readonly HashSet<int> _ids = [];
    private readonly Queue<int> _order = new();

    public void Add(int id)
    {
        if (!_ids.Add(id)) return;
        _order.Enqueue(id);
        if (_order.Count > capacity) _ids.Remove(_order.Dequeue());
    }

    public bool Contains(int id) => _ids.Contains(id);
}
