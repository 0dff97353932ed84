namespace AmbientMesh.Kubernetes;

/// <summary>security.istio.io/v1 AuthorizationPolicy: who may connect to workloads. Its definition; the control plane reads it as JSON, so that one it cannot understand is reported on.</summary>
[CustomKind("authorizationpolicy", "ap", OtherVersions = ["v1beta1"])]
[PrinterColumn("Action", ".spec.action", "What a match means.")]
[PrinterColumn("Enforced", ".status.conditions[?(@.type==\"ZtunnelAccepted\")].status", "Whether ztunnels enforce it.")]
public sealed record AuthorizationPolicy : KubernetesObject, IResource<AuthorizationPolicy>
{
    public static ResourceType Type { get; } = new("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy", IsNamespaced: true);

    public AuthorizationPolicySpec Spec { get; init => field = value ?? new(); } = new();
    public MeshStatus Status { get; init => field = value ?? new(); } = new();
}

/// <summary>Who may connect to workloads. ALLOW policies deny what none of them allows; DENY policies come first.</summary>
[Rule("(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1", "only one of selector, targetRef and targetRefs can be given; remove the others")]
[Rule("!has(self.provider) || (has(self.action) && self.action == 'CUSTOM')", "a provider is for action CUSTOM; set that, or remove the provider")]
[Rule("!(has(self.action) && self.action == 'CUSTOM') || has(self.provider)", "action CUSTOM needs a provider; name one")]
[Rule("!(has(self.action) && self.action in ['DENY', 'CUSTOM']) || (has(self.rules) && self.rules.size() > 0)", "rules are missing: without any this policy never matches; add a rule, or - {} to match everything")]
public sealed record AuthorizationPolicySpec
{
    /// <summary>Labels of the workloads meant; without any, all in the namespace, or in the mesh when this is in its root namespace.</summary>
    public PolicySelector? Selector { get; init; }

    /// <summary>The Gateway, Service or GatewayClass meant; enforced by waypoints only.</summary>
    public PolicyTarget? TargetRef { get; init; }

    /// <summary>The Gateways, Services or GatewayClasses meant; enforced by waypoints only.</summary>
    [Schema(MaxItems = 16)] public IReadOnlyList<PolicyTarget>? TargetRefs { get; init; }

    /// <summary>ALLOW when not given. ztunnel enforces ALLOW and DENY.</summary>
    [Schema(Enum = ["ALLOW", "DENY", "AUDIT", "CUSTOM"])] public string? Action { get; init; }

    /// <summary>Who decides, for action CUSTOM.</summary>
    public PolicyProvider? Provider { get; init; }

    /// <summary>Any rule that matches makes the policy match; a rule matches when its from, its to and each of its when do. A rule with none of them, {}, matches everything; ALLOW without rules allows nothing.</summary>
    [Schema(MaxItems = 512)] public IReadOnlyList<PolicyRule>? Rules { get; init; }
}

/// <summary>Labels of workloads.</summary>
public sealed record PolicySelector
{
    /// <summary>Labels all of which a workload must carry.</summary>
    [Schema(MaxProperties = 4096, ItemMaxLength = 63)]
    [Rule("self.all(key, key.size() != 0)", "selector.matchLabels: a label must have a name")]
    [Rule("self.all(key, !key.contains('*'))", "selector.matchLabels: labels are compared exactly, a '*' is no wildcard in them")]
    [Rule("!self.contains('*')", "selector.matchLabels: labels are compared exactly, a '*' is no wildcard in them", OnItems = true)]
    public IReadOnlyDictionary<string, string> MatchLabels { get; init => field = value ?? Empty.Strings; } = Empty.Strings;
}

/// <summary>An object a policy is attached to.</summary>
public sealed record PolicyTarget
{
    /// <summary>Its API group; empty for the core group.</summary>
    [Schema(MaxLength = 253, Pattern = @"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")] public string? Group { get; init; }
    /// <summary>Its kind.</summary>
    [Schema(Required = true, MinLength = 1, MaxLength = 63, Pattern = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")] public string Kind { get; init => field = value ?? ""; } = "";
    /// <summary>Its name.</summary>
    [Schema(Required = true, MinLength = 1, MaxLength = 253)] public string Name { get; init => field = value ?? ""; } = "";
    /// <summary>Must be empty: targets are in the policy's own namespace.</summary>
    [Rule("self.size() == 0", "targetRefs.namespace: a policy can only be attached within its own namespace; leave it out")]
    public string? Namespace { get; init; }
}

/// <summary>An external decision maker.</summary>
public sealed record PolicyProvider
{
    /// <summary>Its name in the mesh configuration.</summary>
    public string? Name { get; init; }
}

/// <summary>Matches when its from, its to and each of its when do.</summary>
[Schema(KeepsUnknown = true)]   // in all parts of a rule: what is unknown must be refused, not pruned into a wider rule
public sealed record PolicyRule
{
    /// <summary>Where the connection comes from: any of these.</summary>
    [Schema(MinItems = 1, MaxItems = 512)] public IReadOnlyList<PolicyFrom>? From { get; init; }
    /// <summary>Where it goes: any of these.</summary>
    [Schema(MinItems = 1)] public IReadOnlyList<PolicyTo>? To { get; init; }
    /// <summary>Further conditions: all of these.</summary>
    public IReadOnlyList<PolicyCondition>? When { get; init; }
}

/// <summary>One source.</summary>
[Schema(KeepsUnknown = true, MinProperties = 1)]
public sealed record PolicyFrom
{
    /// <summary>All of what is given must hold; at least one field.</summary>
    public PolicySource? Source { get; init; }
}

/// <summary>All of what is given must hold; at least one field.</summary>
[Schema(KeepsUnknown = true, MinProperties = 1)]
[Rule("(has(self.serviceAccounts) || has(self.notServiceAccounts)) ? !(has(self.principals) || has(self.notPrincipals) || has(self.namespaces) || has(self.notNamespaces)) : true",
    "source: serviceAccounts cannot be given together with principals or namespaces; put them into a from entry of their own")]
public sealed record PolicySource
{
    private const string Wildcard = @"^(\*|\*?[^*]+|[^*]+\*)$";
    private const string Account = "^[^/]+(/[^/]+)?$";
    private const string Range =
        @"^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}(/(3[0-2]|[12]?[0-9]))?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$";

    /// <summary>Identities as trust domain/ns/namespace/sa/account; a "*" may stand first or last.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1, ItemPattern = Wildcard)] public IReadOnlyList<string>? Principals { get; init; }
    /// <summary>None of these identities.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1, ItemPattern = Wildcard)] public IReadOnlyList<string>? NotPrincipals { get; init; }
    /// <summary>Namespaces of the identity; a "*" may stand first or last.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1, ItemPattern = Wildcard)] public IReadOnlyList<string>? Namespaces { get; init; }
    /// <summary>None of these namespaces.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1, ItemPattern = Wildcard)] public IReadOnlyList<string>? NotNamespaces { get; init; }
    /// <summary>Accounts as namespace/account, or account in the policy's namespace.</summary>
    [Schema(MinItems = 1, MaxItems = 16, ItemMinLength = 1, ItemMaxLength = 320, ItemPattern = Account)] public IReadOnlyList<string>? ServiceAccounts { get; init; }
    /// <summary>None of these accounts.</summary>
    [Schema(MinItems = 1, MaxItems = 16, ItemMinLength = 1, ItemMaxLength = 320, ItemPattern = Account)] public IReadOnlyList<string>? NotServiceAccounts { get; init; }
    /// <summary>Addresses or CIDR ranges of the connection, as in 192.0.2.1 or 192.0.2.0/24.</summary>
    [Schema(MinItems = 1, ItemPattern = Range)] public IReadOnlyList<string>? IpBlocks { get; init; }
    /// <summary>None of these addresses.</summary>
    [Schema(MinItems = 1, ItemPattern = Range)] public IReadOnlyList<string>? NotIpBlocks { get; init; }
    /// <summary>Addresses behind proxies; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemPattern = Range)] public IReadOnlyList<string>? RemoteIpBlocks { get; init; }
    /// <summary>None of these; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemPattern = Range)] public IReadOnlyList<string>? NotRemoteIpBlocks { get; init; }
    /// <summary>Identities of tokens; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? RequestPrincipals { get; init; }
    /// <summary>None of these; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? NotRequestPrincipals { get; init; }
    /// <summary>Trust domains of the identity; not judged by ztunnel.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? TrustDomains { get; init; }
    /// <summary>None of these; not judged by ztunnel.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? NotTrustDomains { get; init; }
}

/// <summary>One destination.</summary>
[Schema(KeepsUnknown = true, MinProperties = 1)]
public sealed record PolicyTo
{
    /// <summary>All of what is given must hold; at least one field.</summary>
    public PolicyOperation? Operation { get; init; }
}

/// <summary>All of what is given must hold; at least one field.</summary>
[Schema(KeepsUnknown = true, MinProperties = 1)]
public sealed record PolicyOperation
{
    private const string Port = "^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

    /// <summary>Ports the workload is reached on, 1 to 65535, as text.</summary>
    [Schema(MinItems = 1, ItemPattern = Port)] public IReadOnlyList<string>? Ports { get; init; }
    /// <summary>None of these ports.</summary>
    [Schema(MinItems = 1, ItemPattern = Port)] public IReadOnlyList<string>? NotPorts { get; init; }
    /// <summary>Hosts of requests; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? Hosts { get; init; }
    /// <summary>None of these; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? NotHosts { get; init; }
    /// <summary>Methods of requests; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? Methods { get; init; }
    /// <summary>None of these; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? NotMethods { get; init; }
    /// <summary>Paths of requests; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? Paths { get; init; }
    /// <summary>None of these; judged by waypoints only.</summary>
    [Schema(MinItems = 1, ItemMinLength = 1)] public IReadOnlyList<string>? NotPaths { get; init; }
}

/// <summary>A further condition.</summary>
[Schema(KeepsUnknown = true)]
public sealed record PolicyCondition
{
    /// <summary>An attribute. ztunnel judges source.ip, source.namespace, source.principal, destination.ip and destination.port.</summary>
    [Schema(Required = true, MinLength = 1)] public string Key { get; init => field = value ?? ""; } = "";
    /// <summary>Any of these.</summary>
    [Schema(ItemMinLength = 1)] public IReadOnlyList<string>? Values { get; init; }
    /// <summary>None of these.</summary>
    [Schema(ItemMinLength = 1)] public IReadOnlyList<string>? NotValues { get; init; }
}
