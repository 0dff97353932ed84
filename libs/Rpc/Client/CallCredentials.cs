namespace AmbientMesh.Rpc;

/// <summary>Metadata every call carries.</summary>
public static class CallCredentials
{
    /// <summary>Fixed entries and a bearer token whose file is read again at each call, as mounted tokens are replaced while the process runs.</summary>
    /// <param name="tokenPath">Null sends no token.</param>
    /// <param name="entries">Sent with every call; the token goes between those before and after it as ztunnel orders them: extra headers, token, cluster.</param>
    /// <exception cref="RpcException">At the call: UNAUTHENTICATED when the token file cannot be read.</exception>
    public static Func<CancellationToken, ValueTask<RpcMetadata>> FromFile(string? tokenPath, IReadOnlyList<KeyValuePair<string, string>> entries, string? clusterId) =>
        async cancellationToken =>
        {
            RpcMetadata metadata = [];
            foreach (var (key, value) in entries) metadata.Add(key, value);
            if (tokenPath is not null) metadata.Add("authorization", $"Bearer {await ReadTokenAsync(tokenPath, cancellationToken)}");
            if (clusterId is not null) metadata.Add("clusterid", clusterId);
            return metadata;
        };

    private static async Task<string> ReadTokenAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            return (await File.ReadAllTextAsync(path, cancellationToken)).Trim();
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            throw new RpcException(StatusCode.Unauthenticated, $"the token file {path} cannot be read: {problem.Message}", problem);
        }
    }
}
