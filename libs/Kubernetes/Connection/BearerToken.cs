namespace AmbientMesh.Kubernetes;

/// <summary>A token sent as <c>Authorization: Bearer</c>: fixed, a file which the kubelet rewrites and which is therefore read again, or what a program gives until it expires.</summary>
/// <remarks>Thread-safe.</remarks>
public sealed class BearerToken
{
    private static readonly TimeSpan ReadAgainAfter = TimeSpan.FromMinutes(1);   // as client-go

    private readonly Lock _gate = new();
    private readonly string? _path;
    private readonly TimeProvider _clock;
    private string? _value;
    private DateTimeOffset _readAt;

    private BearerToken(string? value, string? path, TimeProvider clock) => (_value, _path, _clock) = (value, path, clock);

    public static BearerToken Fixed(string value) => new(value, null, TimeProvider.System);

    internal static BearerToken FromPlugin(CredentialPlugin plugin) => new(null, null, TimeProvider.System) { Plugin = plugin };

    public static BearerToken FromFile(string path, TimeProvider clock) => new(null, path, clock);

    private CredentialPlugin? Plugin { get; init; }

    /// <summary>The token now. A file that cannot be read leaves the last value in force.</summary>
    /// <exception cref="KubernetesConfigurationException">The file cannot be read and never could, or the program gives none.</exception>
    public string Current()
    {
        if (Plugin is not null) return Plugin.Current().Token ?? throw new KubernetesConfigurationException($"There is no token any more in {Plugin}.");
        lock (_gate)
        {
            if (_value is { } held && (_path is null || _clock.GetUtcNow() - _readAt < ReadAgainAfter)) return held;
            try
            {
                var text = File.ReadAllText(_path!).Trim();
                if (text.Length == 0) throw new IOException("the file is empty");
                _value = text;
                _readAt = _clock.GetUtcNow();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                if (_value is null) throw new KubernetesConfigurationException($"The token file {_path} cannot be read: {e.Message}", e);
                _readAt = _clock.GetUtcNow();
            }
            return _value;
        }
    }

    /// <summary>The server refused the token: a file is read again, or the program run again, at the next use.</summary>
    /// <returns>Whether trying again can make sense.</returns>
    public bool Refused()
    {
        Plugin?.Forget();
        if (Plugin is not null) return true;
        if (_path is null) return false;
        lock (_gate) _readAt = DateTimeOffset.MinValue;
        return true;
    }

    public override string ToString() => Plugin is not null ? Plugin.ToString() : _path is null ? "a fixed token" : $"the token in {_path}";
}
