using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Node.Enrollment;

/// <summary>A pod could not be enrolled or taken out; the message is what its owner reads.</summary>
/// <param name="canRetry">Trying again soon may help; otherwise the pod or the node must change first, and the next verification tries again.</param>
/// <param name="gap">The same in one word, for metrics and pages.</param>
public sealed class EnrollmentException(string message, bool canRetry, ProtectionGap gap, Exception? inner = null) : Exception(message, inner)
{
    public ProtectionGap Gap { get; } = gap;
    public bool CanRetry { get; } = canRetry;
}
