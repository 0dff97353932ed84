using AmbientMesh.Identity;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Certificates;

/// <summary>Settings of the CA itself.</summary>
public sealed record SigningAuthorityOptions
{
    public required string TrustDomain { get; init; }
    /// <summary>Where the Secret of a self-signed CA is kept.</summary>
    public required string SystemNamespace { get; init; }
    /// <summary>Where a plugged-in CA is mounted; without its files the CA signs for itself.</summary>
    public string PluggedInFolder { get; init; } = "/etc/cacerts";
    public IssuancePolicy Policy { get; init; } = new();
    /// <summary>Bits of a new self-signed root.</summary>
    public int SelfSignedKeyBits { get; init; } = 2048;
    /// <summary>Life of a new self-signed root.</summary>
    public TimeSpan SelfSignedLifetime { get; init; } = CertificateAuthority.SelfSignedLifetime;
    /// <summary>How often the plugged-in files are looked at.</summary>
    public TimeSpan ReloadPeriod { get; init; } = TimeSpan.FromSeconds(5);
}

/// <summary>The CA in force: plugged in by its operator, or self-signed and shared with the other replicas through a Secret (reference 6.6).</summary>
public sealed class SigningAuthority
{
    private readonly SigningAuthorityOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly KubernetesClient _client;
    private PluggedInFiles? _files;
    private StoredMaterial? _stored;
    private volatile CertificateAuthority _current;
    private volatile string _revoked = "";
    private string? _problemOfFiles;
    private string? _problemOfRevocations;
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private SigningAuthority(CertificateAuthority current, SigningAuthorityOptions options, KubernetesClient client, TimeProvider clock, ILogger log)
    {
        _current = current;
        _options = options;
        _client = client;
        _clock = clock;
        _log = log;
    }

    /// <summary>Signs now; replaced when a plugged-in CA is renewed or a self-signed root exchanged. Every set of roots shares some with the one before.</summary>
    public CertificateAuthority Current => _current;

    /// <summary>The revocation lists of the plugged-in CA (<c>ca-crl.pem</c>), for every node to obey; empty when there are none.</summary>
    public string Revoked => _revoked;

    /// <summary>Completes at the next change of the CA, its roots or its revocation lists; taken before they are read, no change is missed.</summary>
    public Task Changed => _changed.Task;

    /// <summary>Brought by its operator, not made here.</summary>
    public bool IsPluggedIn => _files is not null;

    /// <summary>Loads the plugged-in CA if its files are there, else the stored self-signed one, else makes and stores one. Waits for an API server that cannot be reached.</summary>
    /// <exception cref="FormatException">What is there is no usable CA; it is never replaced by another. The message names the file or Secret.</exception>
    /// <exception cref="KubernetesException">The Secret may not be read or written.</exception>
    /// <param name="clock">By which certificates are judged and made; null takes the client's.</param>
    public static async Task<SigningAuthority> LoadAsync(SigningAuthorityOptions options, KubernetesClient client, ILogger log, CancellationToken cancellationToken, TimeProvider? clock = null)
    {
        clock ??= client.Clock;
        if (PluggedInFiles.Read(options.PluggedInFolder) is { } files)
        {
            var pluggedIn = files.Load(clock, options.Policy);
            log.LogInformation("the CA is plugged in from {Folder}: {Subject}, until {NotAfter:u}", options.PluggedInFolder, pluggedIn.Certificate.Subject, pluggedIn.Certificate.NotAfter.ToUniversalTime());
            var authority = new SigningAuthority(pluggedIn, options, client, clock, log) { _files = files };
            authority.TakeOverRevocations(PluggedInRevocations.Read(options.PluggedInFolder) ?? "");
            return authority;
        }
        var (material, stored) = await StoredAuthority.LoadOrCreateAsync(options, client, clock, log, cancellationToken);
        return new SigningAuthority(stored, options, client, clock, log) { _stored = material };
    }

    /// <summary>How far the exchange of a self-signed root is: the next step and when it is due. Null for a plugged-in CA, whose operator takes the steps.</summary>
    /// <param name="rotation">By which settings; the step is due when the leader looks for the first time after that moment.</param>
    public (RootStep Step, DateTimeOffset At)? NextStep(RootRotationOptions rotation) =>
        _stored is { } stored ? new RootSchedule(_options.Policy.MaxLifetime, rotation.GracePercent).Next(stored.State(_clock, _options.Policy)) : null;

    /// <summary>Follows what the CA is made of until cancelled: the plugged-in files, or the Secret of a self-signed CA, in which the leader exchanges the root.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => IsPluggedIn ? FollowFilesAsync(cancellationToken) : FollowSecretAsync(cancellationToken);

    private async Task FollowFilesAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(_options.ReloadPeriod, _clock);
        while (await timer.WaitForNextTickAsync(cancellationToken)) Reload();
    }

    private async Task FollowSecretAsync(CancellationToken cancellationToken)
    {
        var secrets = StoredAuthority.Watch(_options, _client, _log);
        var changes = secrets.Subscribe();
        var watching = secrets.RunAsync(cancellationToken);
        await foreach (var change in changes.ReadAllAsync(cancellationToken))
            if (change.Kind is ChangeKind.Added or ChangeKind.Modified && change.After is { Name: StoredAuthority.SecretName } secret) TakeOver(secret);
        await watching;
    }

    private void TakeOver(Secret secret)
    {
        try
        {
            var material = StoredMaterial.Of(secret);
            if (material == _stored) return;
            material.LoadNext(_clock, _options.Policy);   // what is to come must be as sound as what is
            if (!TryExchange(material.Load(_clock, _options.Policy), $"Secret {secret.Key}")) return;
            _stored = material;
            TellChange();
        }
        catch (FormatException e)
        {
            _log.LogError("the CA of Secret {Secret} cannot be used, the CA in force stays: {Problem}", secret.Key, e.Message);
        }
    }

    /// <summary>Takes over changed files if they hold a usable CA whose roots contain those in force, or are contained in them; otherwise the one in force stays.</summary>
    /// <remarks>Roots are rotated in three steps: first both in <c>root-cert.pem</c>, then the new intermediate, then the new root alone. Each step keeps trust in what
    /// the step before issued.</remarks>
    internal void Reload()
    {
        // The CA first: new lists may be those of a new intermediate.
        Attempt(ref _problemOfFiles, "CA", () =>
        {
            var files = PluggedInFiles.Read(_options.PluggedInFolder);
            if (files is null || files == _files || !TryExchange(files.Load(_clock, _options.Policy), _options.PluggedInFolder)) return;
            _files = files;
            TellChange();
        });
        Attempt(ref _problemOfRevocations, "revocation lists", () =>
        {
            if (PluggedInRevocations.Read(_options.PluggedInFolder) is not { } text || text == _revoked) return;
            TakeOverRevocations(text);
            TellChange();
        });
    }

    // The same problem is told once, not at every look.
    private void Attempt(ref string? told, string what, Action takeOver)
    {
        try
        {
            takeOver();
            told = null;
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            if (told != e.Message) _log.LogError("the plugged-in {What} in {Folder} cannot be used, what is in force stays: {Problem}", what, _options.PluggedInFolder, e.Message);
            told = e.Message;
        }
    }

    /// <exception cref="FormatException">They are no lists that can be obeyed.</exception>
    private void TakeOverRevocations(string text)
    {
        if (PluggedInRevocations.Check(text, _options.PluggedInFolder, _current) is { Count: > 0 } unknown)
            _log.LogWarning("the signatures of revocation lists in {Folder} could not be checked here, since their issuers are not among the CA's certificates: {Issuers}", _options.PluggedInFolder, string.Join("; ", unknown));
        _revoked = text;
    }

    /// <summary>Puts a CA in force if its roots are a step from those in force.</summary>
    private bool TryExchange(CertificateAuthority next, string origin)
    {
        if (!RootChange.IsSafe(_current.Roots, next.Roots, _clock.GetUtcNow()))
        {
            _log.LogError("the CA in {Origin} has other roots; certificates in use would no longer be trusted, so the CA in force stays. Put the old and the new root into root-cert.pem first", origin);
            return false;
        }
        if (!next.Roots.Equals(_current.Roots)) _log.LogInformation("the roots change: {Before} before, {After} now", RootChange.Describe(_current.Roots), RootChange.Describe(next.Roots));
        _current = next;
        _log.LogInformation("the CA was renewed from {Origin}, until {NotAfter:u}", origin, next.Certificate.NotAfter.ToUniversalTime());
        return true;
    }

    private void TellChange() => Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
}
