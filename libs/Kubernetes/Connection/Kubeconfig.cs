using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using YamlDotNet.RepresentationModel;

namespace AmbientMesh.Kubernetes;

/// <summary>Kubeconfig files, merged as kubectl merges them: the first file to set a value or a name wins.</summary>
/// <remarks>Understands tokens, token files, client certificates, embedded data and, where the caller allows it, credential plugins. Auth providers and passwords are refused by name.</remarks>
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
    /// <param name="pluginEnvironment">Allows to run the program that a user entry names (<c>exec</c>), and reads environment variables for it; null: such an entry is refused.
    /// Only for files that the person at the keyboard chose: the program may be any.</param>
    /// <exception cref="KubernetesConfigurationException">A name leads nowhere, a file is missing, a program fails, or a means of authentication is not supported.</exception>
    public KubernetesConnection Connect(TimeProvider clock, string? context = null, Func<string, string?>? pluginEnvironment = null)
    {
        var name = context ?? CurrentContext ?? throw Problem("has no current-context");
        var chosen = Named(_contexts, "context", name);
        var cluster = Named(_clusters, "cluster", chosen.Text("cluster") ?? throw Problem($"context '{name}' names no cluster"));
        var user = chosen.Text("user") is { Length: > 0 } userName ? Named(_users, "user", userName) : null;
        var server = cluster.Text("server");
        if (!Uri.TryCreate(server, UriKind.Absolute, out var uri) || uri.Scheme is not ("https" or "http"))
            throw Problem($"cluster of context '{name}' has the server '{server}', which is not an http or https address");
        var plugin = user is not null && pluginEnvironment is not null && user.Has("exec") ? new CredentialPlugin(PluginCall(user, cluster, pluginEnvironment), clock) : null;
        var credential = plugin?.Current();
        return new KubernetesConnection
        {
            Server = uri,
            Authorities = cluster.Bytes("certificate-authority") is { } pem ? Authorities(pem, cluster) : null,
            TlsServerName = cluster.Text("tls-server-name"),
            SkipServerVerification = cluster.Text("insecure-skip-tls-verify") == "true",
            ClientCertificate = credential is not null ? credential.Certificate : user is null ? null : ClientCertificate(user),
            Token = credential is not null ? credential.Token is null ? null : BearerToken.FromPlugin(plugin!) : user is null ? null : Token(user, clock),
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

    private static CredentialPluginCall PluginCall(Entry user, Entry cluster, Func<string, string?> environment)
    {
        var exec = user.Inner("exec") ?? throw user.Problem("has an exec that is no mapping");
        var version = exec.Text("apiVersion");
        if (!CredentialPlugin.Understands(version)) throw user.Problem($"has an exec of {version ?? "no apiVersion"}; client.authentication.k8s.io/v1 and v1beta1 are understood");
        if (exec.Text("interactiveMode") == "Always") throw user.Problem("has an exec whose interactiveMode is Always: the program would have to be spoken to. Log in with it first, or use another context");
        var command = exec.Text("command") is { Length: > 0 } named ? named : throw user.Problem("has an exec without a command");
        return new CredentialPluginCall(
            version!, command.Contains('/', StringComparison.Ordinal) ? user.Resolve(command) : command, exec.Texts("args"),
            exec.Maps("env").Where(e => e.Text("name") is { Length: > 0 }).GroupBy(e => e.Text("name")!).ToDictionary(e => e.Key, e => e.Last().Text("value") ?? ""),
            exec.Text("installHint"), exec.Text("provideClusterInfo") == "true" ? ClusterInfo(cluster) : null, environment, $"the kubeconfig {user.File}, {user.What}");
    }

    private static JsonObject ClusterInfo(Entry cluster)
    {
        var info = new JsonObject { ["server"] = cluster.Text("server") };
        if (cluster.Bytes("certificate-authority") is { } authorities) info["certificate-authority-data"] = Convert.ToBase64String(authorities);
        if (cluster.Text("tls-server-name") is { } name) info["tls-server-name"] = name;
        if (cluster.Text("insecure-skip-tls-verify") == "true") info["insecure-skip-tls-verify"] = true;
        return info;
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
        public Entry? Inner(string key) => Values.Children.TryGetValue(key, out var node) && node is YamlMappingNode map ? this with { Values = map } : null;
        public IReadOnlyList<string> Texts(string key) => [.. Items(key).OfType<YamlScalarNode>().Select(item => item.Value ?? "")];
        public IEnumerable<Entry> Maps(string key) => Items(key).OfType<YamlMappingNode>().Select(item => this with { Values = item });
        private IEnumerable<YamlNode> Items(string key) => Values.Children.TryGetValue(key, out var node) && node is YamlSequenceNode list ? list.Children : [];
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
