using AmbientMesh.Telemetry;

namespace AmbientMesh.Cni.Node;

/// <summary>The agent's metrics on port 15014. Source: reference 11.5; those beginning with <c>ambientmesh_</c> are our own.</summary>
public sealed class AgentMetrics
{
    private readonly CounterFamily _requests;
    private readonly CounterFamily _events;
    private readonly CounterFamily _installs;
    private readonly CounterFamily _repairs;
    private readonly Gauge _installReady;

    public AgentMetrics(MetricRegistry registry, Func<int> ztunnels, Func<int> enrolled, Func<int> unenrolled)
    {
        _requests = registry.Counter("istio_cni_plugin_requests_total", "Requests of the plugin, by the answer's status.", "response_code");
        _events = registry.Counter("nodeagent_reconcile_events_total", "Changes of pods looked at.", "type");
        registry.GaugeFrom("ztunnel_connected", "ztunnels connected now.", () => ztunnels());
        _installReady = registry.Gauge("istio_cni_install_ready", "1 while plugin and configuration are installed and valid.");
        _installs = registry.Counter("istio_cni_installs_total", "Installations of plugin and configuration, by result.", "result");
        registry.GaugeFrom("ambientmesh_cni_enrolled_pods", "Pods of this node that are enrolled.", () => enrolled());
        registry.GaugeFrom("ambientmesh_cni_unenrolled_pods", "Pods of this node that should be enrolled and are not.", () => unenrolled());
        _repairs = registry.Counter("ambientmesh_cni_repairs_total", "What the verification found and repaired, by fault.", "fault");
    }

    public void PluginAnswered(int status) => _requests.With($"{status}").Add();
    public void PodChanged(string type) => _events.With(type).Add();
    public void Installed(string result) => _installs.With(result).Add();
    public void InstallReady(bool ready) => _installReady.Set(ready ? 1 : 0);
    public void Repaired(string fault) => _repairs.With(fault).Add();
}
