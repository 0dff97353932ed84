using System.Net;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Ztunnel.Socks;

/// <summary>Looks up names that clients ask to be connected to, by the way the pod's own lookups take: its view of the mesh first, then name servers, with the same limits and metrics.</summary>
/// <param name="answering">Of the pod.</param>
/// <param name="ipv6">Whether IPv6 addresses are asked for, where there is no IPv4 one.</param>
public sealed class SocksNames(QueryAnswering answering, bool ipv6)
{
    /// <summary>One of the addresses of a name, or why there is none.</summary>
    public async ValueTask<(IPAddress? Address, string Why)> ResolveAsync(string host, IPEndPoint client, CancellationToken cancellationToken)
    {
        var why = "no A/AAAA records";
        foreach (var type in ipv6 ? (ushort[])[DnsTypes.A, DnsTypes.Aaaa] : [DnsTypes.A])
        {
            var found = await AskAsync(host, type, client, cancellationToken);
            if (found.Addresses is [var first, ..]) return (first, "");   // the order is drawn with each answer
            why = found.Problem ?? why;
        }
        return (null, why);
    }

    private async ValueTask<AddressRecords> AskAsync(string host, ushort type, IPEndPoint client, CancellationToken cancellationToken)
    {
        if (AddressRecords.Question(host, type) is not { } question) return new AddressRecords([], TimeSpan.Zero, "it is no host name");
        var answer = await answering.AnswerAsync(question, DnsTransport.Udp, client, null, cancellationToken);
        if (answer is not null && DnsHeader.TryRead(answer, out var header) && header.IsTruncated)
            answer = await answering.AnswerAsync(question, DnsTransport.Tcp, client, null, cancellationToken);
        return answer is null ? new AddressRecords([], TimeSpan.Zero, "there was no answer") : AddressRecords.Read(answer, type);
    }
}
