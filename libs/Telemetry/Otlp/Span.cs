using System.Buffers.Binary;

namespace AmbientMesh.Telemetry.Otlp;

/// <summary>Whose spans: a workload or a part of the mesh. Compared by reference and content of its attributes' array.</summary>
/// <param name="Attributes">At least <c>service.name</c>.</param>
public sealed record SpanResource(IReadOnlyList<KeyValuePair<string, object?>> Attributes);

/// <summary>Which side of a connection a span shows (opentelemetry trace.v1).</summary>
public enum SpanKind { Internal = 1, Server = 2, Client = 3 }

/// <summary>One finished span.</summary>
public sealed record Span
{
    public required SpanResource Resource { get; init; }
    public required TraceContext Context { get; init; }
    public required string Name { get; init; }
    public SpanKind Kind { get; init; }
    public required DateTimeOffset Start { get; init; }
    public required DateTimeOffset End { get; init; }
    public IReadOnlyList<KeyValuePair<string, object?>> Attributes { get; init; } = [];

    /// <summary>Null when it did not fail.</summary>
    public string? Error { get; init; }
}

/// <summary>Spans as an ExportTraceServiceRequest (opentelemetry collector.trace.v1).</summary>
internal static class SpanEncoding
{
    public static ReadOnlyMemory<byte> Encode(IReadOnlyList<Span> spans, OtlpScope scope)
    {
        var writer = new ProtoWriter();
        foreach (var group in spans.GroupBy(span => span.Resource, ReferenceEqualityComparer.Instance))
        {
            writer.Message(1, (Spans: group, scope), static (resourceSpans, state) =>
            {
                resourceSpans.Message(1, state.Spans.First().Resource, static (resource, of) =>
                {
                    foreach (var (key, value) in of.Attributes) resource.Attribute(1, key, value);
                });
                resourceSpans.Message(2, state, static (scopeSpans, state) =>
                {
                    scopeSpans.Message(1, state.scope, OtlpScope.Write);
                    foreach (var span in state.Spans) scopeSpans.Message(2, span, Write);
                });
            });
        }
        return writer.Written;
    }

    internal static ulong Nanoseconds(DateTimeOffset time) => (ulong)(time - DateTimeOffset.UnixEpoch).Ticks * 100;

    private static void Write(ProtoWriter writer, Span span)
    {
        System.Span<byte> id = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(id, span.Context.TraceId);
        writer.Bytes(1, id);
        BinaryPrimitives.WriteUInt64BigEndian(id, span.Context.SpanId);
        writer.Bytes(2, id[..8]);
        if (span.Context.ParentSpanId != 0)
        {
            BinaryPrimitives.WriteUInt64BigEndian(id, span.Context.ParentSpanId);
            writer.Bytes(4, id[..8]);
        }
        writer.Text(5, span.Name);
        writer.Varint(6, (ulong)span.Kind);
        writer.Fixed64(7, Nanoseconds(span.Start));
        writer.Fixed64(8, Nanoseconds(span.End));
        foreach (var (key, value) in span.Attributes) writer.Attribute(9, key, value);
        if (span.Error is { } error)
        {
            writer.Message(15, error, static (status, text) =>
            {
                status.Text(2, text);
                status.Varint(3, 2);
            });
        }
        writer.Fixed32(16, span.Context.IsSampled ? 1u : 0);
    }
}

/// <summary>Who measured: name and version of this program.</summary>
internal sealed record OtlpScope(string Name, string Version)
{
    public static void Write(ProtoWriter writer, OtlpScope scope)
    {
        writer.Text(1, scope.Name);
        writer.Text(2, scope.Version);
    }
}
