using System.Runtime.CompilerServices;
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

    /// <summary>Completes once <paramref name="holds"/>, for what has no event to await: looks, lets others run, and looks again.</summary>
    /// <param name="meanwhile">Done after each look in vain, e.g. a clock that is moved on.</param>
    /// <exception cref="TimeoutException">It did not within <see cref="Limit"/>, or the test was cancelled.</exception>
    public static Task Until(Func<bool> holds, Action? meanwhile = null, [CallerArgumentExpression(nameof(holds))] string what = "") =>
        Until(() => Task.FromResult(holds()), meanwhile, what);

    /// <inheritdoc cref="Until(Func{bool}, Action?, string)"/>
    public static async Task Until(Func<Task<bool>> holds, Action? meanwhile = null, [CallerArgumentExpression(nameof(holds))] string what = "")
    {
        var limit = Token;
        while (!await holds())
        {
            if (limit.IsCancellationRequested) throw new TimeoutException($"Not within {Limit.TotalSeconds:0} s: {what}");
            meanwhile?.Invoke();
            await Task.Yield();
        }
    }

    public static Task<T> Within<T>(Task<T> task) => task.WaitAsync(Token);
    public static Task Within(Task task) => task.WaitAsync(Token);
}
