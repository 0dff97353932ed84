using System.Collections.Immutable;

namespace AmbientMesh.Model;

/// <summary>Service ports and the ports behind them, as a small ordered table. Target 0 means: look at the endpoint (a named target port).</summary>
public readonly struct PortMap
{
    private readonly ImmutableArray<(ushort Service, ushort Target)> _ports;

    /// <summary>The last entry of a service port wins.</summary>
    public PortMap(IEnumerable<(ushort Service, ushort Target)> ports)
    {
        var kept = ImmutableArray.CreateBuilder<(ushort, ushort)>();
        foreach (var port in ports)
        {
            for (var i = kept.Count - 1; i >= 0; i--)
                if (kept[i].Item1 == port.Service) kept.RemoveAt(i);
            kept.Add(port);
        }
        _ports = kept.DrainToImmutable();
    }

    public IReadOnlyList<(ushort Service, ushort Target)> All => _ports.IsDefault ? [] : _ports;

    public bool Declares(ushort servicePort) => Target(servicePort) is not null;

    /// <summary>The target of a service port; null when it is not declared.</summary>
    public ushort? Target(ushort servicePort)
    {
        if (_ports.IsDefault) return null;
        foreach (var (service, target) in _ports)
            if (service == servicePort) return target;
        return null;
    }

    /// <summary>Whether a service port leads to <paramref name="targetPort"/>.</summary>
    public bool LeadsTo(ushort targetPort)
    {
        if (_ports.IsDefault) return false;
        foreach (var (_, target) in _ports)
            if (target == targetPort) return true;
        return false;
    }
}
