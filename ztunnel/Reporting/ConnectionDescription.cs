using System.Net;
using AmbientMesh.Model;

namespace AmbientMesh.Ztunnel.Reporting;

/// <summary>Which way a connection goes at the pod.</summary>
public enum Direction { Inbound, Outbound }

/// <summary>What is known of a connection once it has been decided; the same for log and metrics. Immutable.</summary>
public sealed record ConnectionDescription
{
    public required Direction Direction { get; init; }

    /// <summary>The application's or the client's end.</summary>
    public required IPEndPoint Source { get; init; }

    /// <summary>The TCP peer outbound; the address asked for inbound.</summary>
    public required IPEndPoint Destination { get; init; }

    /// <summary>What the application asked for, before it was routed; null inbound, and where it is <see cref="Destination"/>.</summary>
    public IPEndPoint? Original { get; init; }

    /// <summary>What the tunnel was asked for; null without a tunnel.</summary>
    public string? HboneTarget { get; init; }
    public PeerLabels? SourcePeer { get; init; }
    public PeerLabels? DestinationPeer { get; init; }

    /// <summary>Proven by mTLS; null without it.</summary>
    public SpiffeId? SourceIdentity { get; init; }

    /// <summary>The destination's identity as far as it is known, also without mTLS.</summary>
    public SpiffeId? DestinationIdentity { get; init; }
    public MeshService? Service { get; init; }

    public bool IsMutualTls => HboneTarget is not null;
}
