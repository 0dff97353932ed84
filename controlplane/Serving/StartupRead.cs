using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>Reads from the API server what the start cannot do without: waits while the server cannot be reached, since a cluster comes up in any order.</summary>
internal static class StartupRead
{
    private static readonly TimeSpan FirstWait = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(10);

    /// <param name="read">One attempt.</param>
    /// <param name="what">For the log.</param>
    /// <param name="clock">Tells the time.</param>
    /// <param name="log">Told of each failed attempt.</param>
    /// <exception cref="KubernetesRefusedException">The server answered and refused.</exception>
    public static async Task<T> UntilReachableAsync<T>(Func<CancellationToken, Task<T>> read, string what, TimeProvider clock, ILogger log, CancellationToken cancellationToken)
    {
        for (var wait = FirstWait; ; wait = wait * 2 < LongestWait ? wait * 2 : LongestWait)
        {
            try
            {
                return await read(cancellationToken);
            }
            catch (KubernetesUnavailableException problem)
            {
                log.LogWarning("{What} cannot be read yet, again in {Seconds:0.0} s: {Problem}", what, wait.TotalSeconds, problem.Message);
                await Task.Delay(wait, clock, cancellationToken);
            }
        }
    }
}
