using System.Text;
using AmbientMesh.Hbone;
using AmbientMesh.Hbone.Hpack;
using AmbientMesh.Hbone.Http2;
using AmbientMesh.Telemetry;
using AmbientMesh.Ztunnel.Connections;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>The header list of a CONNECT: lines "name TAB value".</summary>
public sealed class ConnectHeadersTarget : FuzzTarget
{
    public override string Name => "connect-headers";
    public override string Purpose => "request headers, authority, baggage, forwarded, traceparent: CONNECT has its form, an authority is what it prints as";

    public override IEnumerable<byte[]> Seeds() => SeedBytes.Words(
        ":method\tCONNECT\n:authority\t10.0.0.1:8080\nbaggage\tk8s.cluster.name=a,k8s.namespace.name=b,service.name=c\nforwarded\tfor=\"10.0.0.1:2\";host=a.b\ntraceparent\t00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ":method\tCONNECT\n:authority\t[fd00::1]:80", ":method\tCONNECT\n:authority\techo.default.svc.cluster.local:80",
        ":method\tGET\n:scheme\thttps\n:path\t/\n:authority\ta:1\nte\ttrailers", ":method\tCONNECT\n:authority\t[::ffff:10.0.0.1]:1", ":method\tCONNECT\n:authority\t[fe80::1%25eth0]:80");

    public override IEnumerable<byte[]> Words() => SeedBytes.Words(":method\tCONNECT\n", ":authority\t", ":path\t/\n", ":protocol\twebsocket\n", "baggage\t", "forwarded\t", "for=", ";host=", "traceparent\t", "[::1]", "::ffff:", "%", "@", ":0", ":65535", "\n", "\t", "\0", "\r");

    public override void Run(byte[] input)
    {
        var fields = new List<HeaderField>();
        foreach (var line in Encoding.Latin1.GetString(input).Split('\n'))
            if (line.IndexOf('\t') is >= 0 and var tab) fields.Add(new HeaderField(line[..tab], line[(tab + 1)..]));
        if (RequestHeaders.TryParse(fields, out var headers)) CheckRequest(headers);
        foreach (var field in fields) CheckValue(field.Value);
    }

    private static void CheckRequest(RequestHeaders headers)
    {
        Demand.That(headers.Method.Length > 0, "a request has a method");
        Demand.That(headers.Fields.All(f => f.Name.Length > 0 && !f.Name.Any(char.IsAsciiLetterUpper) && f.Name[0] != ':'), "regular headers have lower-case names");
        Demand.That(headers.Fields.All(f => f.Value.IndexOfAny(['\0', '\r', '\n']) < 0), "header values stay on one line");
    }

    private static void CheckValue(string value)
    {
        if (HboneAuthority.TryParse(value, out var authority))
        {
            Demand.That(authority.Port is > 0 and <= 65535, "a port is 1 to 65535");
            Demand.That(authority.Host.IndexOfAny(['@', '/', '%', '?', '#', ' ', '\0', '[', ']']) < 0, "a host is a host");
            Demand.That(HboneAuthority.TryParse(authority.ToString(), out var same) && same == authority, $"an authority reads as it prints: {authority}");
        }
        var baggage = Baggage.Parse([value]);
        Demand.Equal(baggage, Baggage.Parse([value, ""]), "baggage with an empty header more");
        _ = TunnelHeaders.ForwardedHost(value);
        if (TraceContext.Below(value) is not { } trace) return;
        Demand.That(trace.TraceId != 0 && value.Contains(trace.Id, StringComparison.Ordinal), "a trace goes on under its id");
        Demand.Equal(trace.TraceId, TraceContext.Below(trace.Header)!.Value.TraceId, "a trace id");
    }
}
