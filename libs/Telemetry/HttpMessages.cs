using System.Text;

namespace AmbientMesh.Telemetry;

/// <summary>One request to a <see cref="HttpEndpoint"/>. Header names are lower-case.</summary>
/// <param name="Path">Undecoded, without the query.</param>
/// <param name="Query">Undecoded, without the question mark; empty when absent.</param>
public sealed record HttpEndpointRequest(string Method, string Path, string Query, IReadOnlyDictionary<string, string> Headers, ReadOnlyMemory<byte> Body)
{
    /// <summary>The decoded value of a query parameter: null when absent, empty when it has no value.</summary>
    public string? QueryValue(string name)
    {
        foreach (var pair in Query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = pair.IndexOf('=');
            var key = equals < 0 ? pair : pair[..equals];
            if (key == name) return equals < 0 ? "" : Uri.UnescapeDataString(pair[(equals + 1)..].Replace('+', ' '));
        }
        return null;
    }
}

/// <summary>The answer; the connection is closed after it.</summary>
public sealed record HttpEndpointResponse(int Status, string? ContentType, ReadOnlyMemory<byte> Body)
{
    /// <summary>Further headers, in order.</summary>
    public IReadOnlyList<(string Name, string Value)> Headers { get; init; } = [];

    public static HttpEndpointResponse Empty(int status) => new(status, null, default);
    public static HttpEndpointResponse Text(int status, string text, string contentType = "text/plain") => new(status, contentType, Encoding.UTF8.GetBytes(text));
    public static HttpEndpointResponse Json(ReadOnlyMemory<byte> json, int status = 200) => new(status, "application/json", json);
    public static HttpEndpointResponse NotFound { get; } = Empty(404);
    public static HttpEndpointResponse MethodNotAllowed { get; } = Empty(405);
}
