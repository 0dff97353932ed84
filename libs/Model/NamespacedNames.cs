namespace AmbientMesh.Model;

/// <summary>A service's key, <c>&lt;namespace&gt;/&lt;hostname&gt;</c>: its xDS resource name.</summary>
public readonly record struct ServiceName(string Namespace, string Hostname)
{
    public override string ToString() => $"{Namespace}/{Hostname}";

    /// <summary>Splits at the first slash; false without one.</summary>
    public static bool TryParse(string text, out ServiceName name)
    {
        var slash = text.IndexOf('/');
        name = slash < 0 ? default : new ServiceName(text[..slash], text[(slash + 1)..]);
        return slash >= 0;
    }
}

/// <summary>A policy's key, <c>&lt;namespace&gt;/&lt;name&gt;</c>: its xDS resource name and what workloads list.</summary>
public readonly record struct PolicyName(string Namespace, string Name)
{
    public override string ToString() => $"{Namespace}/{Name}";

    /// <summary>Splits at the first slash; false without one.</summary>
    public static bool TryParse(string text, out PolicyName name)
    {
        var slash = text.IndexOf('/');
        name = slash < 0 ? default : new PolicyName(text[..slash], text[(slash + 1)..]);
        return slash >= 0;
    }
}

/// <summary>What names a pod's workload on its node; from ZDS. Written <c>name.namespace (service account)</c>.</summary>
public readonly record struct WorkloadInfo(string Name, string Namespace, string ServiceAccount)
{
    public override string ToString() => $"{Name}.{Namespace} ({ServiceAccount})";
}
