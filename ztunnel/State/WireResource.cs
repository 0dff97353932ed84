using System.Diagnostics.CodeAnalysis;
using AmbientMesh.Protocol;
using AmbientMesh.Protocol.Discovery;
using Google.Protobuf;

namespace AmbientMesh.Ztunnel.State;

/// <summary>The body of a discovery resource.</summary>
internal static class WireResource
{
    /// <summary>Parses the body; false with a reason for the control plane when it is absent or no such message.</summary>
    public static bool TryParse<T>(Resource resource, MessageParser<T> parser, [NotNullWhen(true)] out T? message, [NotNullWhen(false)] out string? reason) where T : class, IMessage<T>
    {
        (message, reason) = (null, null);
        if (resource.Resource_ is not { } body)
        {
            reason = "decode: resource has no body";
            return false;
        }
        try
        {
            if (!ForeignMessage.TryParse(parser, body.Value.Span, out var parsed, out var problem)) reason = $"decode: failed to decode Protobuf message: {problem}";
            else if (WireShape.Problem(parsed.Descriptor, body.Value) is { } shape) reason = $"decode: failed to decode Protobuf message: {shape}";
            else message = parsed;
            return message is not null;
        }
        catch (InvalidProtocolBufferException e)
        {
            reason = $"decode: failed to decode Protobuf message: {e.Message}";
            return false;
        }
    }
}
