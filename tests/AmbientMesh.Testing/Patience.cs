using Xunit;

namespace AmbientMesh.Testing;

/// <summary>The one generous time limit every awaiting test shares; tests await events and never sleep.</summary>
public static class Patience
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Cancelled when the running test is, or after <see cref="Limit"/>.</summary>
    public static CancellationToken Token
    {
        get
        {
            var source = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            source.CancelAfter(Limit);
            return source.Token;
        }
    }

    public static Task<T> Within<T>(Task<T> task) => task.WaitAsync(Token);
    public static Task Within(Task task) => task.WaitAsync(Token);
}
