using System.Diagnostics;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The processes that hold namespaces: they say <c>ready</c>, live while their standard input is open, and end with it.</summary>
internal static class HolderReady
{
    /// <exception cref="HostCommandException">It ended instead; the message carries what it said.</exception>
    public static async Task AwaitAsync(Process holder, string what, CancellationToken cancellationToken)
    {
        if (await holder.StandardOutput.ReadLineAsync(cancellationToken) == "ready")
        {
            _ = holder.StandardError.BaseStream.CopyToAsync(Stream.Null, cancellationToken);
            return;
        }
        holder.StandardInput.Close();
        var error = await holder.StandardError.ReadToEndAsync(cancellationToken);
        throw new HostCommandException($"Making {what} failed: {error.Trim()}");
    }

    public static async Task EndAsync(Process holder)
    {
        try
        {
            holder.StandardInput.Close();
        }
        catch (IOException)
        {
            // Already gone.
        }
        await holder.WaitForExitAsync();
        holder.Dispose();
    }
}
