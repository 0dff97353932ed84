using System.Net;
using AmbientMesh.Cni.Node;
using AmbientMesh.Cni.Node.Enrollment;
using AmbientMesh.Cni.Node.Redirection;
using AmbientMesh.Cni.Node.Ztunnel;
using AmbientMesh.Kubernetes;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.Cni.Tests.Enrollment;

/// <summary>Who belongs into the mesh, and what is to be done about a pod.</summary>
public class EnrollmentDecisionTests
{
    private static readonly EnrollmentRules s_rules = new(EnrollmentSelector.Defaults, new HashSet<string>(["kube-system"]), "istio-system");

    [Theory, Scenario("L4-162", "L4-163")]
    [InlineData(null, null, false)]
    [InlineData(null, "ambient", true)]
    [InlineData("ambient", null, true)]
    [InlineData("none", "ambient", false)]
    [InlineData("ambient", "none", true)]
    [InlineData("none", null, false)]
    [InlineData("meshed", null, false)]
    [InlineData(null, "meshed", false)]
    [InlineData("meshed", "ambient", true)]   // only none opts out
    public void Labels_of_pod_and_namespace_decide(string? pod, string? ns, bool expected) =>
        Assert.Equal(expected, s_rules.Decide(Pod(mode: pod), Labels(ns)).ShouldBeEnrolled);

    [Fact, Scenario("L4-164", "L4-165")]
    public void Exclusions_win_over_every_label()
    {
        var ambient = Labels("ambient");
        Assert.False(s_rules.Decide(Pod(ns: "kube-system", mode: "ambient"), ambient).ShouldBeEnrolled);
        Assert.False(s_rules.Decide(Pod(mode: "ambient") with { Spec = new PodSpec { HostNetwork = true } }, ambient).ShouldBeEnrolled);
        Assert.False(s_rules.Decide(Annotated(Pod(mode: "ambient"), "sidecar.istio.io/status", "{}"), ambient).ShouldBeEnrolled);
        var ztunnel = Pod(ns: "istio-system", mode: "ambient");
        ztunnel = ztunnel with { Metadata = ztunnel.Metadata with { Labels = new Dictionary<string, string>(ztunnel.Metadata.Labels) { ["app"] = "ztunnel" } } };
        Assert.False(s_rules.Decide(ztunnel, ambient).ShouldBeEnrolled);
    }

    [Fact]
    public void A_pod_of_an_enrolled_namespace_that_is_left_out_is_known_with_its_reason()
    {
        var ambient = Labels("ambient");
        var sidecar = Annotated(Pod(), "sidecar.istio.io/status", "{}");
        Assert.Equal(Exemption.HostNetwork, s_rules.ExemptionOf(Pod() with { Spec = new PodSpec { HostNetwork = true } }, ambient));
        Assert.Equal(Exemption.Sidecar, s_rules.ExemptionOf(sidecar, ambient));
        Assert.Equal(Exemption.ExcludedNamespace, s_rules.ExemptionOf(Pod(ns: "kube-system"), ambient));
        Assert.Equal(Exemption.OptedOut, s_rules.ExemptionOf(Pod(mode: "none"), ambient));
        Assert.Null(s_rules.ExemptionOf(Pod(), ambient));
        Assert.Null(s_rules.ExemptionOf(sidecar, Labels(null)));
        Assert.Null(s_rules.ExemptionOf(Pod(mode: "none"), Labels(null)));
    }

    [Fact]
    public void A_selector_list_is_read_as_a_cluster_writes_it()
    {
        var selectors = SelectorYaml.Read("""
            - podSelector:
                matchLabels: {team: blue}
              namespaceSelector:
                matchExpressions:
                - {key: kubernetes.io/metadata.name, operator: In, values: [a, b]}
                - {key: skip, operator: DoesNotExist}
            """);
        var rules = s_rules with { Selectors = selectors };
        var pod = Pod();
        pod = pod with { Metadata = pod.Metadata with { Labels = new Dictionary<string, string> { ["team"] = "blue" } } };
        Assert.True(rules.Decide(pod, new Dictionary<string, string> { ["kubernetes.io/metadata.name"] = "a" }).ShouldBeEnrolled);
        Assert.False(rules.Decide(pod, new Dictionary<string, string> { ["kubernetes.io/metadata.name"] = "c" }).ShouldBeEnrolled);
        Assert.False(rules.Decide(pod, new Dictionary<string, string> { ["kubernetes.io/metadata.name"] = "a", ["skip"] = "" }).ShouldBeEnrolled);
        Assert.False(rules.Decide(Pod(), new Dictionary<string, string> { ["kubernetes.io/metadata.name"] = "a" }).ShouldBeEnrolled);
    }

    [Theory]
    [InlineData("- podSelector: {matchExpressions: [{key: a, operator: Near}]}", "Near")]
    [InlineData("podSelector: {}", "AMBIENT_ENABLEMENT_SELECTOR")]
    [InlineData("- [", "AMBIENT_ENABLEMENT_SELECTOR")]
    public void A_selector_list_that_is_none_is_named(string yaml, string named) =>
        Assert.Contains(named, Assert.Throws<FormatException>(() => SelectorYaml.Read(yaml)).Message);

    [Fact]
    public void Settings_that_cannot_be_used_are_all_named_at_once()
    {
        var environment = new Dictionary<string, string>
        {
            ["AMBIENT_IPV6"] = "perhaps",
            ["HOST_PROBE_SNAT_IP"] = "nowhere",
            ["MONITORING_PORT"] = "99999",
            ["AMBIENT_ENABLEMENT_SELECTOR"] = "- [",
        };
        var (_, problems) = AgentSettings.Read(name => environment.GetValueOrDefault(name));
        Assert.All(["NODE_NAME", .. environment.Keys], name => Assert.Contains(problems, problem => problem.StartsWith(name, StringComparison.Ordinal)));
    }

    [Fact]
    public void Dns_capture_is_on_unless_it_is_switched_off()
    {
        Assert.True(AgentSettings.Read(name => name == "NODE_NAME" ? "n" : null).Settings.CapturesDns);
        Assert.False(AgentSettings.Read(name => name == "NODE_NAME" ? "n" : name == "AMBIENT_DNS_CAPTURE" ? "false" : null).Settings.CapturesDns);
    }

    [Fact]
    public void What_is_due_follows_from_pod_decision_and_record()
    {
        var yes = new EnrollmentDecision(true, "");
        var no = new EnrollmentDecision(false, "out");
        var running = Running(Pod(), "10.0.0.1");
        var complete = new EnrolledPod("u", running.Key, "sa", [IPAddress.Parse("10.0.0.1")], null) { IsComplete = true };

        Assert.IsType<PodStep.AwaitAddress>(PodStep.Decide(Pod(), yes, null, null));
        Assert.IsType<PodStep.Enrol>(PodStep.Decide(running, yes, null, null));
        Assert.IsType<PodStep.Enrol>(PodStep.Decide(running, yes, complete with { IsComplete = false }, null));
        Assert.IsType<PodStep.Nothing>(PodStep.Decide(running, yes, complete, null));
        var rules = new PodRedirectOptions(CapturesDns: true, BypassesInbound: false, []);
        Assert.IsType<PodStep.Nothing>(PodStep.Decide(running, yes, complete with { Redirect = rules }, rules with { RerouteInterfaces = [] }));
        Assert.IsType<PodStep.RefreshRules>(PodStep.Decide(running, yes, complete with { Redirect = rules }, rules with { CapturesDns = false }));
        Assert.IsType<PodStep.RefreshRules>(PodStep.Decide(running, yes, complete with { Redirect = rules }, null));   // and is told why not
        Assert.IsType<PodStep.RefreshAddresses>(PodStep.Decide(Running(Pod(), "10.0.0.2"), yes, complete, null));
        Assert.IsType<PodStep.Nothing>(PodStep.Decide(running, no, null, null));
        Assert.IsType<PodStep.TakeOut>(PodStep.Decide(running, no, complete, null));
        Assert.IsType<PodStep.TakeOut>(PodStep.Decide(Annotated(running, EnrollmentRules.RedirectionAnnotation, "pending"), no, null, null));
        var times = new LeaveTimes(TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(3));
        var start = DateTimeOffset.UnixEpoch;
        PodStep Leaving(LeavePhase phase, int seconds) => PodStep.Decide(running, no, complete with { Leaving = phase, LeavingSince = start }, null, times, start.AddSeconds(seconds));
        Assert.IsType<PodStep.AnnounceLeaving>(Leaving(LeavePhase.No, 0));
        Assert.Equal(TimeSpan.FromSeconds(1), Assert.IsType<PodStep.AwaitLeaving>(Leaving(LeavePhase.Announced, 4)).Remaining);
        Assert.IsType<PodStep.Release>(Leaving(LeavePhase.Announced, 5));
        Assert.IsType<PodStep.AwaitLeaving>(Leaving(LeavePhase.Released, 2));
        Assert.IsType<PodStep.TakeOut>(Leaving(LeavePhase.Released, 3));
        Assert.IsType<PodStep.TakeOut>(PodStep.Decide(Annotated(running, EnrollmentRules.RedirectionAnnotation, "enabled"), no, null, null, times, start));   // nothing is known of it
        Assert.IsType<PodStep.Enrol>(PodStep.Decide(running, yes, complete with { Leaving = LeavePhase.Announced }, null, times, start));   // it stays after all
        var ended = running with { Status = running.Status with { Phase = "Failed" } };
        Assert.IsType<PodStep.Forget>(PodStep.Decide(ended, yes, complete, null));
        Assert.IsType<PodStep.Nothing>(PodStep.Decide(ended, yes, null, null));
    }

    [Theory]
    [InlineData("0::/kubepods/besteffort/podUID/c1", true)]
    [InlineData("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSYSTEMD.slice/cri-containerd-0ea.scope", true)]
    [InlineData("0::/ambientmesh-lab-x/kubepods/podUID/pause\n", true)]
    [InlineData("12:memory:/kubepods/podUID\n11:cpu:/kubepods/podUID\n", true)]
    [InlineData("0::/../podUID/c2", true)]
    [InlineData("0::/kubepods/podUID0/c1", false)]
    [InlineData("0::/kubepods/xpodUID/c1", false)]
    [InlineData("0::/system.slice/containerd.service", false)]
    public void A_process_belongs_to_the_pod_its_cgroup_names(string cgroups, bool belongs)
    {
        const string uid = "890c1f1e-ab4f-4653-87a5-2a1012907950";
        var text = cgroups.Replace("UID", uid).Replace("SYSTEMD", uid.Replace('-', '_'));
        Assert.Equal(belongs, PodNamespaceSearch.Belongs(text, uid));
    }

    private static Pod Pod(string ns = "demo", string? mode = null) => new() { Metadata = new ObjectMeta { Name = "web", Namespace = ns, Uid = "u", Labels = Labels(mode) } };

    private static Pod Running(Pod pod, string address) => pod with { Status = new PodStatus { Phase = "Running", PodIP = address } };

    private static Pod Annotated(Pod pod, string name, string value) => pod with { Metadata = pod.Metadata with { Annotations = new Dictionary<string, string> { [name] = value } } };

    private static Dictionary<string, string> Labels(string? mode) => mode is null ? [] : new() { [EnrollmentSelector.ModeLabel] = mode };
}
