using System.Buffers.Binary;

namespace AmbientMesh.Hbone.Http2;

public enum SettingId : ushort
{
    HeaderTableSize = 1,
    EnablePush = 2,
    MaxConcurrentStreams = 3,
    InitialWindowSize = 4,
    MaxFrameSize = 5,
    MaxHeaderListSize = 6,
}

/// <summary>What the peer told us in SETTINGS, beginning with the protocol's defaults (RFC 9113 §6.5.2).</summary>
internal sealed class PeerSettings
{
    public uint HeaderTableSize { get; private set; } = 4096;
    public uint MaxConcurrentStreams { get; private set; } = uint.MaxValue;
    public int InitialWindowSize { get; private set; } = FlowControl.DefaultWindow;
    public int MaxFrameSize { get; private set; } = 16384;
    public uint MaxHeaderListSize { get; private set; } = uint.MaxValue;

    /// <summary>Applies one payload in order; unknown settings are ignored.</summary>
    public void Apply(ReadOnlySpan<byte> payload, bool peerIsServer)
    {
        for (; payload.Length >= 6; payload = payload[6..])
        {
            var value = BinaryPrimitives.ReadUInt32BigEndian(payload[2..]);
            switch ((SettingId)BinaryPrimitives.ReadUInt16BigEndian(payload))
            {
                case SettingId.HeaderTableSize: HeaderTableSize = value; break;
                case SettingId.EnablePush when value > 1 || (peerIsServer && value == 1):
                    throw new ConnectionErrorException(ErrorCode.ProtocolError, $"SETTINGS_ENABLE_PUSH is {value}");
                case SettingId.MaxConcurrentStreams: MaxConcurrentStreams = value; break;
                case SettingId.InitialWindowSize when value > FlowControl.MaxWindow:
                    throw new ConnectionErrorException(ErrorCode.FlowControlError, $"SETTINGS_INITIAL_WINDOW_SIZE is {value}");
                case SettingId.InitialWindowSize: InitialWindowSize = (int)value; break;
                case SettingId.MaxFrameSize when value is < 16384 or > 0xff_ffff:
                    throw new ConnectionErrorException(ErrorCode.ProtocolError, $"SETTINGS_MAX_FRAME_SIZE is {value}");
                case SettingId.MaxFrameSize: MaxFrameSize = (int)value; break;
                case SettingId.MaxHeaderListSize: MaxHeaderListSize = value; break;
            }
        }
    }
}

internal static class FlowControl
{
    public const int DefaultWindow = 65535;
    public const int MaxWindow = int.MaxValue;
}
