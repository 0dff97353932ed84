using System.Net.Sockets;
using AmbientMesh.Cni.Node.Redirection;

namespace AmbientMesh.Cni.Tests.Redirection;

/// <summary>The generated rules against files read in review, and against what the reference implementation leaves in a pod.</summary>
public class RedirectRulesTests
{
    private static readonly Dictionary<string, PodRedirectOptions> s_pods = new()
    {
        ["plain"] = Backends.Plain,
        ["dns"] = Backends.Plain with { CapturesDns = true },
        ["bypass-inbound"] = Backends.Plain with { BypassesInbound = true },
        ["reroute"] = Backends.Plain with { RerouteInterfaces = ["virt0", "docker0"] },
        ["everything"] = new PodRedirectOptions(CapturesDns: true, BypassesInbound: true, RerouteInterfaces: ["virt0"]),
    };

    public static TheoryData<string> Pods => [.. s_pods.Keys];

    [Theory, MemberData(nameof(Pods))]
    public void Iptables_rules_are_the_reviewed_ones(string pod)
    {
        Golden.Check($"redirection/{pod}.iptables", Text(AddressFamily.InterNetwork, s_pods[pod]));
        Golden.Check($"redirection/{pod}.ip6tables", Text(AddressFamily.InterNetworkV6, s_pods[pod]));
    }

    [Theory, MemberData(nameof(Pods))]
    public void Nftables_rules_are_the_reviewed_ones(string pod) =>
        Golden.Check($"redirection/{pod}.nft", NftablesPodRules.Install(Backends.Settings, s_pods[pod]));

    [Fact]
    public void Rules_and_order_are_those_the_reference_implementation_leaves_behind()
    {
        var recorded = Samples.Text("samples/ztunnel/redirection/iptables-save.txt");
        var ours = IptablesScript.Install(IptablesPodRules.For(AddressFamily.InterNetwork, Backends.Settings, s_pods["dns"]), saved: "");
        // The recording was made by a script that does not write the raw table.
        Assert.Equal(IptablesScript.Ours(recorded), IptablesScript.Ours(ours[..ours.IndexOf("*raw", StringComparison.Ordinal)]));
    }

    [Theory]
    [InlineData("virt0;reboot")]
    [InlineData("eth0 -j ACCEPT")]
    [InlineData("a-name-that-is-too-long")]
    [InlineData("\"\n-A")]
    public void An_interface_name_that_is_none_is_a_problem_that_names_it(string name)
    {
        var annotations = new Dictionary<string, string> { [PodRedirectOptions.RerouteAnnotation] = "virt0," + name };
        Assert.False(PodRedirectOptions.TryRead(annotations, dnsCaptureByDefault: false, out _, out var problem));
        Assert.Contains(name.Trim(), problem);
    }

    [Theory, Scenario("L4-124")]
    [InlineData("false", true, false)]
    [InlineData("true", false, true)]
    [InlineData("maybe", true, true)]
    [InlineData(null, false, false)]
    public void A_pods_annotation_overrides_the_default_of_dns_capture_both_ways(string? value, bool byDefault, bool expected)
    {
        var annotations = value is null ? null : new Dictionary<string, string> { [PodRedirectOptions.DnsCaptureAnnotation] = value };
        Assert.True(PodRedirectOptions.TryRead(annotations, byDefault, out var options, out _));
        Assert.Equal(expected, options.CapturesDns);
    }

    private static string Text(AddressFamily family, PodRedirectOptions pod) =>
        IptablesScript.Install(IptablesPodRules.For(family, Backends.Settings, pod), saved: "");
}
