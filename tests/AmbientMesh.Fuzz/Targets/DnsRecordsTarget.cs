using System.Text;
using AmbientMesh.Ztunnel.Dns;

namespace AmbientMesh.Fuzz.Targets;

/// <summary>What a name server answers about the address of a workload that is known by name only. The first byte chooses.</summary>
public sealed class DnsRecordsTarget : FuzzTarget
{
    public override string Name => "dns-records";
    public override string Purpose => "answers of name servers, questions for host names: only addresses that stand in the answer, of the family asked for, within a bounded chain of aliases";
    public override int MaxBytes => 2048;

    public override IEnumerable<byte[]> Seeds() =>
    [
        // db.example is an alias of a.b, which has two addresses; a record of another name does not count.
        Answer(DnsTypes.A, 4, "c00c000500010000003c00050161016200016101620000010001" + "0000001e00040a00000101610162000001000100000" + "05a00040a00000201630162000001000100000001000" + "40a000009"),
        Answer(DnsTypes.Aaaa, 1, "c00c001c00010000003c0010fd000000000000000000000000000001"),
        // Aliases that lead to each other.
        Answer(DnsTypes.A, 2, "c00c000500010000003c00050161016200" + "0161016200000500010000003c0002c00c"),
        SeedBytes.Of(2, "db.example."),
        SeedBytes.Of(3, new string('a', 63) + "." + new string('b', 63) + "." + new string('c', 63) + "." + new string('d', 61)),
    ];

    public override IEnumerable<byte[]> Words() => [[0xc0, 12], [0, 1, 0, 1], [0, 28, 0, 1], [0, 5, 0, 1], [0, 4, 10, 0, 0, 1], [0xff, 0xff, 0xff, 0xff], .. SeedBytes.Words("\u0002db\u0007example\0", ".", "xn--", "*")];

    public override void Run(byte[] input)
    {
        var mode = input.Length > 0 ? input[0] : 0;
        var type = (mode & 1) == 0 ? DnsTypes.A : DnsTypes.Aaaa;
        var rest = input.AsSpan(Math.Min(1, input.Length)).ToArray();
        if ((mode & 2) == 0) CheckAnswer(rest, type);
        else CheckQuestion(Encoding.UTF8.GetString(rest), type);
    }

    private static void CheckAnswer(byte[] answer, ushort type)
    {
        var read = AddressRecords.Read(answer, type);
        Demand.That(read.Problem is null || (read.Addresses.IsEmpty && read.Problem.Length > 0), "a failure has a reason and no address");
        Demand.That(read.Lifetime >= TimeSpan.Zero, "a lifetime is not negative");
        Demand.That(read.Addresses.Length <= answer.Length / 10, "no more addresses than records");
        foreach (var address in read.Addresses)
        {
            var bytes = address.GetAddressBytes();
            Demand.Equal(type == DnsTypes.A ? 4 : 16, bytes.Length, "the family asked for");
            Demand.That(answer.AsSpan().IndexOf(bytes) >= 0, "an address stands in the answer");
        }
    }

    private static void CheckQuestion(string hostname, ushort type)
    {
        if (AddressRecords.Question(hostname, type) is not { } question || !DnsQuery.TryParse(question, out var query, out _)) return;
        Demand.Equal(type, query.Question.Type, "the type asked for");
        Demand.Equal(hostname.TrimEnd('.').Count(c => c == '.') + 1, Labels(question), "the labels asked for");
        if (query.Question.Name.IsPlain) Demand.Equal(hostname.TrimEnd('.').ToLowerInvariant(), query.Question.Name.Text, "the name asked for");
        Demand.That(AddressRecords.Read(question, type).Addresses.IsEmpty, "a question sent back is no answer");
    }

    private static int Labels(byte[] question)
    {
        var count = 0;
        for (var at = DnsHeader.Bytes; question[at] > 0; at += question[at] + 1) count++;
        return count;
    }

    private static byte[] Answer(ushort type, byte records, string hex)
    {
        var question = AddressRecords.Question("db.example", type)!;
        (question[2], question[3], question[7]) = (0x81, 0x80, records);
        return SeedBytes.Of((byte)(type == DnsTypes.A ? 0 : 1), [.. question, .. Convert.FromHexString(hex)]);
    }
}
