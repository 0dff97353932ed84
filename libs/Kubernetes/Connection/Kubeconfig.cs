using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.Kubernetes;

/// <summary>Kubeconfig files, merged as kubectl merges them: the first file to set a value or a name wins.</summary>
/// <remarks>Understands tokens, token files, client certificates and embedded data. Exec plugins, auth providers and passwords are refused by name.</remarks>
public sealed class Kubeconfig
{
    private readonly Dictionary<string, Entry> _clusters = [];
    private readonly Dictionary<string, Entry> _users = [];
    private readonly Dictionary<string, Entry> _contexts = [];

    private Kubeconfig()
    {
    }

    public string? CurrentContext { get; private set; }
    /// <summary>The files read, for messages.</summary>
    public string Origin { get; private init; } = "";

    /// <summary>Reads the files; of several, those which do not exist are passed over as long as one does.</summary>
    /// <exception cref="KubernetesConfigurationException">No file exists, or one cannot be read.</exception>
    public static Kubeconfig Load(IReadOnlyList<string> paths)
    {
        var present = paths.Where(File.Exists).ToList();
        if (present.Count == 0) throw new KubernetesConfigurationException($"The kubeconfig {string.Join(", ", paths)} does not exist.");
        var config = new Kubeconfig { Origin = string.Join(", ", present) };
        foreach (var path in present) config.Merge(path);
        return config;
    }

    /// <summary>The connection of <paramref name="context"/>, or of the current context.</summary>
    /// <exception cref="KubernetesConfigurationException">A name leads nowhere, a file is missing, or a means of authentication is not supported.</exception>
    public KubernetesConnection Connect(TimeProvider clock, string? context = null)
    {
        var name = context ?? CurrentContext ?? throw Problem("has no current-context");
        var chosen = Named(_contexts, "context", name);
        var cluster = Named(_clusters, "cluster", chosen.Text("cluster") ?? throw Problem($"context '{name}' names no cluster"));
        var user = chosen.Text("user") is { Length: > 0 } userName ? Named(_users, "user", userName) : null;
        var server = cluster.Text("server");
        if (!Uri.TryCreate(server, UriKind.Absolute, out var uri) || uri.Scheme is not ("https" or "http"))
            throw Problem($"cluster of context '{name}' has the server '{server}', which is not an http or https address");
        return new KubernetesConnection
        {
            Server = uri,
            Authorities = cluster.Bytes("certificate-authority") is { } pem ? Authorities(pem, cluster) : null,
            TlsServerName = cluster.Text("tls-server-name"),
            SkipServerVerification = cluster.Text("insecure-skip-tls-verify") == "true",
            ClientCertificate = user is null ? null : ClientCertificate(user),
            Token = user is null ? null : Token(user, clock),
            Namespace = chosen.Text("namespace") is { Length: > 0 } ns ? ns : "default",
        };
    }

    private void Merge(string path)
    {
        var root = Parse(path);
        if (root is null) return;   // an empty file is valid
        CurrentContext ??= Entry.TextOf(root, "current-context") is { Length: > 0 } current ? current : null;
        Collect(root, path, "clusters", "cluster", _clusters);
        Collect(root, path, "users", "user", _users);
        Collect(root, path, "contexts", "context", _contexts);
    }

    private static YamlMappingNode? Parse(string path)
    {
        try
        {
            var root = BoundedYaml.Load(File.ReadAllText(path), allowsAliases: true);
            if (root is null) return null;
            return root as YamlMappingNode ?? throw new KubernetesConfigurationException($"The kubeconfig {path} is not a YAML mapping.");
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            throw new KubernetesConfigurationException($"The kubeconfig {path} cannot be read: {e.Message}", e);
        }
    }

    private static void Collect(YamlMappingNode root, string path, string list, string item, Dictionary<string, Entry> into)
    {
        if (!root.Children.TryGetValue(list, out var node) || node is not YamlSequenceNode entries) return;
        foreach (var entry in entries.OfType<YamlMappingNode>())
            if (Entry.TextOf(entry, "name") is { } name && entry.Children.TryGetValue(item, out var body) && body is YamlMappingNode values)
                into.TryAdd(name, new Entry(values, path, $"{item} '{name}'"));
    }

    private Entry Named(Dictionary<string, Entry> entries, string what, string name) =>
        entries.TryGetValue(name, out var entry) ? entry : throw Problem($"has no {what} '{name}'");

    private KubernetesConfigurationException Problem(string what) => new($"The kubeconfig {Origin} {what}.");

    private static X509Certificate2Collection Authorities(byte[] pem, Entry cluster)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(System.Text.Encoding.UTF8.GetString(pem));
        }
        catch (CryptographicException e)
        {
            throw cluster.Problem($"has a certificate-authority which cannot be read: {e.Message}");
        }
        return authorities.Count > 0 ? authorities : throw cluster.Problem("has a certificate-authority without a certificate");
    }

    private static X509Certificate2? ClientCertificate(Entry user)
    {
        var certificate = user.Bytes("client-certificate");
        var key = user.Bytes("client-key");
        if (certificate is null && key is null) return null;
        if (certificate is null || key is null) throw user.Problem("has only one of client-certificate and client-key");
        try
        {
            return X509Certificate2.CreateFromPem(System.Text.Encoding.UTF8.GetString(certificate), System.Text.Encoding.UTF8.GetString(key));
        }
        catch (CryptographicException e)
        {
            throw user.Problem($"has a client certificate or key which cannot be read: {e.Message}");
        }
    }

    private static BearerToken? Token(Entry user, TimeProvider clock)
    {
        foreach (var unsupported in (string[])["exec", "auth-provider", "username"])
            if (user.Has(unsupported)) throw user.Problem($"authenticates by '{unsupported}', which is not supported; use a token or a client certificate");
        if (user.Text("token") is { Length: > 0 } token) return BearerToken.Fixed(token);
        return user.Text("tokenFile") is { Length: > 0 } file ? BearerToken.FromFile(user.Resolve(file), clock) : null;
    }

    /// <summary>One cluster, user or context, and the file it came from, which relative paths are relative to.</summary>
    private sealed record Entry(YamlMappingNode Values, string File, string What)
    {
        public static string? TextOf(YamlMappingNode map, string key) => map.Children.TryGetValue(key, out var node) ? (node as YamlScalarNode)?.Value : null;

        public string? Text(string key) => TextOf(Values, key);
        public bool Has(string key) => Values.Children.ContainsKey(key);
        public string Resolve(string path) => Path.GetFullPath(path, Path.GetDirectoryName(Path.GetFullPath(File))!);
        public KubernetesConfigurationException Problem(string what) => new($"In the kubeconfig {File}, {What} {what}.");

        /// <summary>The value of <c>key-data</c> (base64) or of the file named by <c>key</c>; null when neither is set.</summary>
        public byte[]? Bytes(string key)
        {
            try
            {
                if (Text(key + "-data") is { Length: > 0 } data) return Convert.FromBase64String(data);
                return Text(key) is { Length: > 0 } path ? System.IO.File.ReadAllBytes(Resolve(path)) : null;
            }
            catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
            {
                throw Problem($"has a {key} which cannot be read: {e.Message}");
            }
        }
    }
}
