using System.Net;
using System.Text;
using AmbientMesh.Lab.Capture;

namespace AmbientMesh.Lab.Tests.Capture;

/// <summary>What a capture saw is put together again, and what it did not see is not made up.</summary>
public sealed class WireRecordingTests
{
    private static readonly TcpFlow s_flow = new(IPEndPoint.Parse("10.0.0.1:40000"), IPEndPoint.Parse("10.0.0.2:15008"));

    private static TcpSegment Segment(uint sequence, string text) => new(s_flow, sequence, Encoding.Latin1.GetBytes(text));

    private static string[] Pieces(params TcpSegment[] segments) => [.. new WireRecording(segments).Pieces(s_flow).Select(Encoding.Latin1.GetString)];

    /// <summary>A TLS record of application data, as text.</summary>
    private static string Record(string content) => $"\u0017\u0003\u0003\0{(char)content.Length}{content}";

    [Fact]
    public void Segments_are_ordered_and_what_comes_twice_counts_once()
    {
        Assert.Equal(["hello world"], Pieces(Segment(106, "world"), Segment(100, "hello "), Segment(100, "hello "), Segment(103, "lo wor"), Segment(109, "ld")));
        Assert.Equal(["hello world"], Pieces(Segment(uint.MaxValue - 2, "hello "), Segment(3, "world")));   // the numbers begin anew
    }

    [Fact]
    public void Bytes_with_something_missing_between_them_are_not_joined()
    {
        TcpSegment[] segments = [Segment(100, "a sec"), Segment(106, "ret"), Segment(109, " word")];
        Assert.Equal(["a sec", "ret word"], Pieces(segments));
        var recording = new WireRecording(segments);
        Assert.Empty(recording.Showing("a secret"));
        Assert.Empty(recording.Showing("secret"));
        Assert.Equal([s_flow], recording.Showing("ret word"));
        Assert.Equal(13, recording.Bytes(s_flow));
        Assert.Equal("a secret word", recording.Preview(s_flow, 100));
    }

    [Fact]
    public void A_flow_is_only_tls_when_each_of_its_pieces_begins_with_a_record_and_has_nothing_else()
    {
        var (first, second) = (Record("first"), Record("second"));
        Assert.True(IsOnlyTls(Segment(0, first), Segment((uint)first.Length, second)));
        Assert.True(IsOnlyTls(Segment(0, first), Segment((uint)first.Length, second[..3])));   // cut at the end
        Assert.True(IsOnlyTls(Segment(0, first), Segment(5000, second)));   // the ports are used again
        Assert.False(IsOnlyTls(Segment(0, first), Segment((uint)first.Length, "GET / HTTP/1.1")));
        Assert.False(IsOnlyTls(Segment(0, first[..^2]), Segment((uint)first.Length, "GET / HTTP/1.1")));   // what is missing hides nothing that follows
        Assert.False(IsOnlyTls(Segment(0, first), Segment((uint)first.Length + 2, second[2..])));

        static bool IsOnlyTls(params TcpSegment[] segments) => new WireRecording(segments).IsOnlyTls(s_flow);
    }
}
