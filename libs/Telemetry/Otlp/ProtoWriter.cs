using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace AmbientMesh.Telemetry.Otlp;

/// <summary>Writes the few protobuf forms that OTLP needs. Source: protobuf encoding, <c>protobuf.dev/programming-guides/encoding</c>.</summary>
internal sealed class ProtoWriter
{
    private readonly ArrayBufferWriter<byte> _buffer = new(1024);
    private ProtoWriter? _child;

    public ReadOnlyMemory<byte> Written => _buffer.WrittenMemory;

    /// <summary>Wire type 0; 0 is left out, as proto3 does.</summary>
    public void Varint(int field, ulong value)
    {
        if (value == 0) return;
        Tag(field, 0);
        Raw(value);
    }

    /// <summary>Wire type 1.</summary>
    public void Fixed64(int field, ulong value)
    {
        Tag(field, 1);
        BinaryPrimitives.WriteUInt64LittleEndian(Take(8), value);
    }

    public void Double(int field, double value) => Fixed64(field, BitConverter.DoubleToUInt64Bits(value));

    /// <summary>Wire type 5.</summary>
    public void Fixed32(int field, uint value)
    {
        Tag(field, 5);
        BinaryPrimitives.WriteUInt32LittleEndian(Take(4), value);
    }

    /// <summary>Wire type 2.</summary>
    public void Bytes(int field, ReadOnlySpan<byte> value)
    {
        Tag(field, 2);
        Raw((ulong)value.Length);
        _buffer.Write(value);
    }

    public void Text(int field, string value)
    {
        Tag(field, 2);
        var length = Encoding.UTF8.GetByteCount(value);
        Raw((ulong)length);
        Encoding.UTF8.GetBytes(value, Take(length));
    }

    /// <summary>A nested message.</summary>
    public void Message<TState>(int field, TState state, Action<ProtoWriter, TState> write)
    {
        var child = _child ?? new ProtoWriter();
        _child = null;
        write(child, state);
        Bytes(field, child._buffer.WrittenSpan);
        child._buffer.ResetWrittenCount();
        _child = child;
    }

    /// <summary>A KeyValue with a string, number or truth (opentelemetry common.v1); null is left out.</summary>
    public void Attribute(int field, string key, object? value)
    {
        if (value is null) return;
        Message(field, (key, value), static (pair, state) =>
        {
            pair.Text(1, state.key);
            pair.Message(2, state.value, static (any, value) =>
            {
                switch (value)
                {
                    // Of a oneof the default value is written too.
                    case bool truth:
                        any.Tag(2, 0);
                        any.Raw(truth ? 1u : 0u);
                        break;
                    case long number:
                        any.Tag(3, 0);
                        any.Raw((ulong)number);
                        break;
                    case int number:
                        any.Tag(3, 0);
                        any.Raw((ulong)number);
                        break;
                    default:
                        any.Text(1, value as string ?? value.ToString() ?? "");
                        break;
                }
            });
        });
    }

    private void Tag(int field, int wireType) => Raw((ulong)((field << 3) | wireType));

    private void Raw(ulong value)
    {
        while (value >= 0x80)
        {
            Take(1)[0] = (byte)(value | 0x80);
            value >>= 7;
        }
        Take(1)[0] = (byte)value;
    }

    private Span<byte> Take(int length)
    {
        var span = _buffer.GetSpan(length)[..length];
        _buffer.Advance(length);
        return span;
    }
}
