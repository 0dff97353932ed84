using System.Runtime.InteropServices;

namespace AmbientMesh.Linux;

/// <summary>The kernel refused a call; the message names the call, what it was for, and the kernel's reason.</summary>
public sealed class SystemCallException(string call, string purpose, int errorNumber)
    : IOException($"{call} failed {purpose}: {Marshal.GetPInvokeErrorMessage(errorNumber)} (errno {errorNumber})")
{
    /// <summary>Linux errno.</summary>
    public int ErrorNumber { get; } = errorNumber;

    internal static SystemCallException Last(string call, string purpose) => new(call, purpose, Marshal.GetLastPInvokeError());
}
