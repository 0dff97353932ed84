using System.Text.Json;

namespace AmbientMesh.Cni.Plugin;

/// <summary>What the plugin writes to standard output. Source: CNI specification 1.0, section 5.</summary>
internal static class CniAnswer
{
    /// <summary>The configuration on standard input could not be decoded.</summary>
    public const int CannotDecode = 6;

    /// <summary>Our own: the pod could not be enrolled.</summary>
    public const int EnrollmentFailed = 103;

    /// <summary>A variable the specification requires is missing or wrong.</summary>
    public const int InvalidEnvironment = 4;

    public static byte[] Versions(string cniVersion) => Write(json =>
    {
        json.WriteString("cniVersion", cniVersion);
        json.WriteStartArray("supportedVersions");
        foreach (var version in (string[])["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) json.WriteStringValue(version);
        json.WriteEndArray();
    });

    public static byte[] Error(string cniVersion, int code, string message, string details = "") => Write(json =>
    {
        json.WriteString("cniVersion", cniVersion);
        json.WriteNumber("code", code);
        json.WriteString("msg", message);
        if (details.Length > 0) json.WriteString("details", details);
    });

    /// <summary>The result of a plugin that stands alone.</summary>
    public static byte[] EmptyResult(string cniVersion) => Write(json => json.WriteString("cniVersion", cniVersion));

    private static byte[] Write(Action<Utf8JsonWriter> content)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            content(json);
            json.WriteEndObject();
        }
        stream.WriteByte((byte)'\n');
        return stream.ToArray();
    }
}
