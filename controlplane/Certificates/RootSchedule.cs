using System.Security.Cryptography.X509Certificates;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>What the exchange of a self-signed root waits for, or does. The three steps are those in which an operator exchanges a plugged-in root.</summary>
public enum RootStep
{
    /// <summary>The root has life enough.</summary>
    None,

    /// <summary>Make the next root and let everybody trust it; the old one signs on.</summary>
    Announce,

    /// <summary>The next root signs; the old one stays trusted.</summary>
    Switch,

    /// <summary>Roots that sign no more are no longer trusted.</summary>
    Retire,
}

/// <summary>Settings of the exchange of a self-signed root.</summary>
public sealed record RootRotationOptions
{
    /// <summary>CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL: how often the leader looks; zero or less never.</summary>
    public TimeSpan CheckInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE: the share of its life, in percent, which a root must have left; 1 to 90.</summary>
    public int GracePercent { get; init; } = 20;

    /// <summary>CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR: the first look of a leader is at a random moment within the interval, instead of at once.</summary>
    public bool HasJitter { get; init; } = true;
}

/// <summary>How far the exchange of a self-signed root is.</summary>
/// <param name="Signing">Signs now.</param>
/// <param name="Next">Trusted already and to sign next; null when none is announced.</param>
/// <param name="Trusted">Every root that is trusted, these among them.</param>
/// <param name="Before">Thumbprint of the root that signed before; null when there was none.</param>
/// <param name="SignsSince">When <paramref name="Signing"/> took over from it; null when nobody knows.</param>
internal sealed record RootState(X509Certificate2 Signing, X509Certificate2? Next, IReadOnlyList<X509Certificate2> Trusted, string? Before, DateTimeOffset? SignsSince);

/// <summary>When the steps of a root's exchange are due. Pure.</summary>
/// <param name="longestLife">The longest life of a certificate that was issued; zero or more.</param>
/// <param name="gracePercent">See <see cref="RootRotationOptions.GracePercent"/>.</param>
internal sealed class RootSchedule(TimeSpan longestLife, int gracePercent)
{
    /// <summary>The next step and when it is due.</summary>
    public (RootStep Step, DateTimeOffset At) Next(RootState state)
    {
        if (state.Trusted.All(root => root.Thumbprint != state.Signing.Thumbprint)) return (RootStep.None, DateTimeOffset.MaxValue);   // an intermediate: its root is elsewhere
        if (state.Next is { } next) return (RootStep.Switch, Begin(next) + Settling(state.Signing, Begin(next)));
        var announce = End(state.Signing) - ((End(state.Signing) - Begin(state.Signing)) * gracePercent / 100);
        var retire = Others(state).Select(root => UselessFrom(root, state)).DefaultIfEmpty(DateTimeOffset.MaxValue).Min();
        return retire <= announce ? (RootStep.Retire, retire) : (RootStep.Announce, announce);
    }

    /// <summary>Roots other than the signing one for which nothing speaks any more at <paramref name="now"/>. Roots that an operator added stay until they end.</summary>
    public IReadOnlyList<X509Certificate2> Useless(RootState state, DateTimeOffset now) => [.. Others(state).Where(root => UselessFrom(root, state) <= now)];

    private static IEnumerable<X509Certificate2> Others(RootState state) => state.Trusted.Where(root => root.Thumbprint != state.Signing.Thumbprint);

    // What was signed before the switch has ended after the longest life, or with the root that signed it.
    private DateTimeOffset UselessFrom(X509Certificate2 root, RootState state) =>
        root.Thumbprint == state.Before && state.SignsSince + longestLife is { } unused && unused < End(root) ? unused : End(root);

    /// <summary>How long both are trusted before the next one signs: then every certificate of before, and with it every set of roots without the next one, has ended.
    /// Roots of a short life have no time for that; a third of what is left is enough for the nodes, who fetch new roots within minutes.</summary>
    private TimeSpan Settling(X509Certificate2 signing, DateTimeOffset announced)
    {
        var third = (End(signing) - announced) / 3;
        return third <= TimeSpan.Zero ? TimeSpan.Zero : third < longestLife ? third : longestLife;
    }

    private static DateTimeOffset Begin(X509Certificate2 certificate) => new(certificate.NotBefore.ToUniversalTime());
    private static DateTimeOffset End(X509Certificate2 certificate) => new(certificate.NotAfter.ToUniversalTime());
}
