using AmbientMesh.Lab.Api.Objects;
using Microsoft.AspNetCore.Http;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>In which form a client wants objects.</summary>
public enum ObjectForm
{
    Full,
    Table,
    PartialMetadata,
}

/// <summary>Outcome of reading the Accept header.</summary>
public sealed record Negotiated(ObjectForm Form, bool Yaml);

/// <summary>Reads Accept as the API server does: the first form it can serve.</summary>
internal static class Negotiation
{
    private const string AvailableCustom = "application/json, application/yaml, application/json;stream=watch";
    private const string Available = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    private const string AvailableStreams = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

    /// <param name="isCustom">Custom resources have no protobuf form.</param>
    public static Negotiated Of(HttpRequest request, bool isCustom = false)
    {
        var header = request.Headers.Accept.ToString();
        if (header.Length == 0) return new Negotiated(ObjectForm.Full, false);
        var sawProtobuf = false;
        foreach (var range in header.Split(','))
        {
            var parts = range.Split(';', StringSplitOptions.TrimEntries);
            var type = parts[0].Trim();
            sawProtobuf |= type == "application/vnd.kubernetes.protobuf";
            var yaml = type is "application/yaml" or "application/x-yaml" or "text/yaml";
            if (type is not ("*/*" or "application/*" or "application/json") && !yaml) continue;
            var parameters = parts.Skip(1).Select(p => p.Split('=', 2)).Where(p => p.Length == 2).ToDictionary(p => p[0].ToLowerInvariant(), p => p[1], StringComparer.Ordinal);
            if (!parameters.TryGetValue("as", out var form)) return new Negotiated(ObjectForm.Full, yaml);
            if (parameters.GetValueOrDefault("g") != "meta.k8s.io" || parameters.GetValueOrDefault("v") is not ("v1" or "v1beta1")) continue;
            if (form == "Table") return new Negotiated(ObjectForm.Table, yaml);
            if (form is "PartialObjectMetadata" or "PartialObjectMetadataList") return new Negotiated(ObjectForm.PartialMetadata, yaml);
        }
        if (sawProtobuf && !isCustom) return new Negotiated(ObjectForm.Full, false);   // the lab answers in JSON, which says so itself
        throw new ApiException(406, "NotAcceptable", $"406: Not Acceptable\n\nAvailable representations: {(isCustom ? AvailableCustom : RequestInfo.Of(request).Verb == "list" ? Available + AvailableStreams : Available)}", []);
    }
}
