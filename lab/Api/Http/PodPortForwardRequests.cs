using AmbientMesh.Lab.Api.Objects;

namespace AmbientMesh.Lab.Api.Http;

/// <summary>pods/portforward.</summary>
internal static class PodPortForwardRequests
{
    public static Task HandleAsync(RequestContext c)
    {
        PodTargets.Reference(c);
        throw new ApiException(501, "NotImplemented", "the lab does not serve pods/portforward");
    }
}
