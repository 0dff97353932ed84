using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using AmbientMesh.Identity;
using AmbientMesh.Ztunnel.Configuration;
using AmbientMesh.Ztunnel.Connections;
using AmbientMesh.Ztunnel.InPod;
using AmbientMesh.Ztunnel.Reporting;

namespace AmbientMesh.Ztunnel.Admin;

/// <summary>Everything the proxy holds, as <c>istioctl ztunnel-config</c> reads it (L4 reference §11.4). No key and no token is in it.</summary>
public sealed class ConfigDump(ZtunnelSettings settings, ProxyServices services, PodTable pods, string version)
{
    /// <summary>Indented JSON; the top level is sorted.</summary>
    public ReadOnlyMemory<byte> Write()
    {
        var buffer = new ArrayBufferWriter<byte>(16 * 1024);
        using var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        var mesh = services.Mesh.Current;
        json.WriteStartObject();
        WriteCertificates(json);
        WriteConfig(json);
        MeshJson.WritePolicies(json, mesh);
        MeshJson.WriteServices(json, mesh);
        MeshJson.WriteStaged(json, mesh);
        json.WriteStartObject("staticConfig");
        WriteArray(json, "policies", settings.Static.Policies, MeshJson.Write);
        WriteArray(json, "services", settings.Static.Services, (writer, service) => MeshJson.Write(writer, service, mesh));
        WriteArray(json, "workloads", settings.Static.Workloads, MeshJson.Write);
        json.WriteEndObject();
        json.WriteStartObject("version");
        json.WriteString("version", version);
        json.WriteEndObject();
        WriteWorkloadState(json);
        MeshJson.WriteWorkloads(json, mesh);
        json.WriteEndObject();
        json.Flush();
        return buffer.WrittenMemory;
    }

    private static void WriteArray<T>(Utf8JsonWriter json, string name, IEnumerable<T> values, Action<Utf8JsonWriter, T> write)
    {
        json.WriteStartArray(name);
        foreach (var value in values) write(json, value);
        json.WriteEndArray();
    }

    private void WriteCertificates(Utf8JsonWriter json)
    {
        json.WriteStartArray("certificates");
        foreach (var state in services.Svids.States)
        {
            json.WriteStartObject();
            WriteChain(json, "certChain", state.Current is { } svid ? [svid.Leaf, .. svid.Intermediates] : []);
            json.WriteString("identity", state.Identity.ToString());
            WriteChain(json, "rootCerts", state.Current?.Roots.Roots ?? []);
            json.WriteString("state", state.Problem is { } problem && state.Current is null ? $"Unavailable: {problem}" : state.Current is null ? "Initializing" : "Available");
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void WriteChain(Utf8JsonWriter json, string name, IReadOnlyList<X509Certificate2> certificates)
    {
        json.WriteStartArray(name);
        foreach (var certificate in certificates)
        {
            json.WriteStartObject();
            json.WriteString("expirationTime", Time(certificate.NotAfter));
            json.WriteString("pem", Convert.ToBase64String(Encoding.ASCII.GetBytes(PemBlocks.Encode(certificate))));
            json.WriteString("serialNumber", new BigInteger(certificate.SerialNumberBytes.Span, isUnsigned: true, isBigEndian: true).ToString(CultureInfo.InvariantCulture));
            json.WriteString("validFrom", Time(certificate.NotBefore));
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private void WriteConfig(Utf8JsonWriter json)
    {
        json.WriteStartObject("config");
        json.WriteString("caAddress", settings.CaAddress?.ToString());
        json.WriteString("clusterDomain", settings.ClusterDomain);
        json.WriteString("clusterId", settings.ClusterId);
        json.WriteNumber("connectionWindowSize", settings.Http2ConnectionWindow);
        json.WriteBoolean("dnsProxy", settings.DnsProxy);
        json.WriteNumber("frameSize", settings.Http2FrameSize);
        json.WriteBoolean("inpodPortReuse", settings.InPodPortReuse);
        json.WriteString("inpodUds", settings.InPodSocket);
        json.WriteBoolean("ipv6Enabled", settings.IPv6Enabled);
        json.WriteString("localNode", settings.NodeName);
        json.WriteBoolean("localhostAppTunnel", settings.LocalhostAppTunnel);
        json.WriteString("network", settings.Network);
        json.WriteNumber("numWorkerThreads", settings.WorkerThreads);
        json.WriteNumber("packetMark", settings.PacketMark);
        json.WriteNumber("poolMaxStreamsPerConn", settings.PoolMaxStreamsPerConnection);
        json.WriteString("poolUnusedReleaseTimeout", ZtunnelSettings.Seconds(settings.PoolUnusedReleaseTimeout));
        json.WriteString("preferedServiceNamespace", settings.PreferredServiceNamespace);
        json.WriteString("proxyMode", settings.DedicatedWorkload is null ? "Shared" : "Dedicated");
        json.WriteString("secretTtl", ZtunnelSettings.Seconds(settings.SecretTtl));
        json.WriteString("selfTerminationDeadline", ZtunnelSettings.Seconds(settings.TerminationDeadline));
        json.WriteString("socks5Addr", settings.Socks5 ? $"127.0.0.1:{ProxyPorts.Socks5}" : null);
        json.WriteNumber("windowSize", settings.Http2StreamWindow);
        json.WriteString("xdsAddress", settings.XdsAddress?.ToString());
        json.WriteBoolean("xdsOnDemand", settings.XdsOnDemand);
        json.WriteEndObject();
    }

    private void WriteWorkloadState(Utf8JsonWriter json)
    {
        json.WriteStartObject("workloadState");
        foreach (var (pod, proxy) in pods.Pods.OrderBy(p => p.Pod.Uid, StringComparer.Ordinal))
        {
            var views = (proxy as PodProxy)?.Context.Connections.Open.Select(c => c.View).OfType<ConnectionView>().ToArray() ?? [];
            json.WriteStartObject(pod.Uid);
            json.WriteStartObject("connections");
            WriteConnections(json, "inbound", views.Where(v => v.Direction == Direction.Inbound));
            WriteConnections(json, "outbound", views.Where(v => v.Direction == Direction.Outbound));
            json.WriteEndObject();
            json.WriteStartObject("info");
            json.WriteString("name", pod.Info.Name);
            json.WriteString("namespace", pod.Info.Namespace);
            json.WriteString("serviceAccount", pod.Info.ServiceAccount);
            json.WriteEndObject();
            json.WriteString("state", proxy is null ? "Pending" : "Up");
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }

    private static void WriteConnections(Utf8JsonWriter json, string name, IEnumerable<ConnectionView> views)
    {
        json.WriteStartArray(name);
        foreach (var view in views)
        {
            json.WriteStartObject();
            json.WriteString("actualDst", view.ActualDestination);
            json.WriteString("originalDst", view.OriginalDestination);
            json.WriteString("protocol", view.Protocol);
            json.WriteString("src", view.Source.ToString());
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static string Time(DateTime time) => time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
