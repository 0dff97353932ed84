using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>Writes answers.</summary>
internal static class Responses
{
    public static readonly JsonSerializerOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = 256 };
    private static readonly JsonWriterOptions Writer = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = 256 };

    public static byte[] Bytes(JsonNode node)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, Writer)) node.WriteTo(writer, Json);
        return buffer.ToArray();
    }

    public static Task ObjectAsync(HttpContext context, int code, JsonNode body, bool yaml = false, string contentType = "application/json")
    {
        if (yaml) return TextAsync(context, code, YamlText.Write(body), "application/yaml");
        return BytesAsync(context, code, [.. Bytes(body), (byte)'\n'], contentType);
    }

    public static Task TextAsync(HttpContext context, int code, string text, string contentType = "text/plain; charset=utf-8") =>
        BytesAsync(context, code, System.Text.Encoding.UTF8.GetBytes(text), contentType);

    public static async Task BytesAsync(HttpContext context, int code, byte[] body, string contentType)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        if (!context.Response.Headers.ContainsKey("Cache-Control")) context.Response.Headers.CacheControl = "no-cache, private";
        if (HttpMethods.IsHead(context.Request.Method)) return;
        await context.Response.Body.WriteAsync(body, context.RequestAborted);
    }

    public static Task ErrorAsync(HttpContext context, ApiException error)
    {
        if (error.Code == 429) context.Response.Headers.RetryAfter = "1";
        return ObjectAsync(context, error.Code, error.Status);
    }

    public static Task NoPageAsync(HttpContext context) => TextAsync(context, 404, "404 page not found\n");

    public static void Warn(HttpContext context, IEnumerable<string> warnings)
    {
        foreach (var warning in warnings.Distinct(StringComparer.Ordinal))
            context.Response.Headers.Append("Warning", $"299 - {FieldError.Quote(warning)}");
    }
}
