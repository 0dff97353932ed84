using AmbientMesh.Lab.Capture;
using AmbientMesh.Linux;

namespace AmbientMesh.Integration.Tests.Ztunnel;

/// <summary>The TCP payload that crossed a namespace's interfaces while it ran.</summary>
public sealed class WireCapture(NetworkNamespace where) : IDisposable
{
    private readonly Lab.Capture.WireCapture _capture = new(where);

    /// <summary>Ends the recording, when all that had crossed by now is in it, and returns its bytes.</summary>
    public byte[] Stop()
    {
        WireRecording recording = _capture.Stop();
        return [.. recording.Flows.SelectMany(recording.Pieces).SelectMany(piece => piece)];
    }

    public void Dispose() => _capture.Dispose();
}
