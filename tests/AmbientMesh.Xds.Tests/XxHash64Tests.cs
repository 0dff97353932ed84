using System.Text;

namespace AmbientMesh.Xds.Tests;

public sealed class XxHash64Tests
{
    [Theory]
    [InlineData("", 0xef46db3751d8e999)]
    [InlineData("a", 0xd24ec4f1a98c6e5b)]
    [InlineData("abc", 0x44bc2cf5ad770999)]
    [InlineData("Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1)]
    public void Published_texts_have_their_hashes(string text, ulong hash) => Assert.Equal(hash, XxHash64.Hash(Encoding.ASCII.GetBytes(text)));

    /// <summary>The sanity check of the reference implementation, seed 0.</summary>
    [Theory]
    [InlineData(0, 0xef46db3751d8e999)]
    [InlineData(1, 0xe934a84adb052768)]
    [InlineData(14, 0x8282dcc4994e35c8)]
    [InlineData(222, 0xb641ae8cb691c174)]
    public void The_reference_implementations_own_check_passes(int length, ulong hash)
    {
        var buffer = new byte[length];
        ulong generator = 2654435761;
        for (var i = 0; i < length; i++, generator *= 11400714785074694797) buffer[i] = (byte)(generator >> 56);
        Assert.Equal(hash, XxHash64.Hash(buffer));
    }
}
