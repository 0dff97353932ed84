using System.Text.Json;
using AmbientMesh.Lab.Demo;

namespace AmbientMesh.EndToEnd.Tests;

/// <summary>The mesh in the cluster under test: put there by <c>kubectl apply -k deploy/</c>, and taken away again when this run brought it.</summary>
internal sealed class MeshInstallation(CommandRunner run, string deploy)
{
    private static readonly string[] s_parts = ["deployment/istiod", "daemonset/istio-cni-node", "daemonset/ztunnel"];
    private bool _brought;

    /// <summary>Applies the manifests and waits until every part is rolled out.</summary>
    /// <exception cref="CommandFailedException">The cluster cannot be reached, has a mesh of another make, or a part does not come up; the message says what to do.</exception>
    public async Task InstallAsync(CancellationToken cancellationToken)
    {
        var images = await IstiodImagesAsync(cancellationToken);
        if (images.Length > 0 && !images.Contains("ambientmesh/", StringComparison.Ordinal))
            throw new CommandFailedException($"istio-system already has an istiod made of {images}; these tests would overwrite it. Run with --installed to test the mesh that is there.");
        _brought = images.Length == 0;
        await run.MustKubectlAsync(cancellationToken, "apply", "-k", deploy);
        await RolledOutAsync(cancellationToken);
    }

    /// <summary>Waits until every part of the mesh is there.</summary>
    /// <exception cref="CommandFailedException">One is not; the message holds the state of its pods.</exception>
    public async Task RolledOutAsync(CancellationToken cancellationToken)
    {
        foreach (var part in s_parts)
        {
            var rollout = await run.KubectlAsync(cancellationToken, "rollout", "status", "-n", "istio-system", part, "--timeout=120s");
            if (!rollout.Succeeded) throw new CommandFailedException($"{part} does not come up: {rollout.Errors.Trim()}. {await WhyAsync(cancellationToken)}");
        }
    }

    /// <summary>Removes what <see cref="InstallAsync"/> brought; a mesh that was there before stays.</summary>
    public async Task RemoveAsync()
    {
        if (_brought) await run.KubectlAsync(CancellationToken.None, "delete", "-k", deploy, "--ignore-not-found", "--timeout=120s");
    }

    private async Task<string> IstiodImagesAsync(CancellationToken cancellationToken)
    {
        var found = await run.KubectlAsync(cancellationToken, "get", "deployments", "-n", "istio-system", "-l", "app=istiod", "-o", "jsonpath={.items[*].spec.template.spec.containers[*].image}");
        return found.Succeeded ? found.Output.Trim() : throw new CommandFailedException($"the cluster cannot be asked: {found.Errors.Trim()}");
    }

    /// <summary>The reasons for which containers of the mesh wait; an image that no node has is the usual one.</summary>
    private async Task<string> WhyAsync(CancellationToken cancellationToken)
    {
        var pods = await run.KubectlAsync(cancellationToken, "get", "pods", "-n", "istio-system", "-o", "json");
        if (!pods.Succeeded) return "";
        using var document = JsonDocument.Parse(pods.Output);
        var waiting = document.RootElement.GetProperty("items").EnumerateArray().SelectMany(Waiting).Distinct().ToList();
        var hint = waiting.Exists(w => w.Contains("Image", StringComparison.Ordinal)) ? " Import the archives of ./mesh images on every node: ctr --namespace k8s.io image import FILE." : "";
        return string.Join("; ", waiting) + hint;
    }

    private static IEnumerable<string> Waiting(JsonElement pod)
    {
        if (!pod.GetProperty("status").TryGetProperty("containerStatuses", out var containers)) yield break;
        foreach (var container in containers.EnumerateArray())
            if (container.GetProperty("state").TryGetProperty("waiting", out var waiting) && waiting.TryGetProperty("reason", out var reason))
                yield return $"{pod.GetProperty("metadata").GetProperty("name").GetString()} waits: {reason.GetString()} ({container.GetProperty("image").GetString()})";
    }
}
