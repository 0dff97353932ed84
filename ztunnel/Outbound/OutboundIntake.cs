using AmbientMesh.Hbone;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Ztunnel.Outbound;

/// <summary>How an application's connection came here, and so how the application learns what became of it. This one was captured: the application knows of no proxy.</summary>
public class OutboundIntake(ITransport application)
{
    public ITransport Application => application;

    /// <summary>Bytes are carried from now on.</summary>
    /// <exception cref="IOException">The application is gone.</exception>
    public virtual ValueTask EstablishedAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

    /// <summary>The connection is not carried, or no longer. Does not throw.</summary>
    public virtual ValueTask RefusedAsync(CloseReason reason)
    {
        application.Abort();
        return ValueTask.CompletedTask;
    }
}
