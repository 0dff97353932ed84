using System.Text;
using AmbientMesh.Lab.Api.Http;

namespace AmbientMesh.Lab.Tests.Api;

/// <summary>Keys given twice are found wherever they stand.</summary>
public sealed class DuplicateKeysTests
{
    [Theory]
    [InlineData("{\"a\":1,\"a\":2}", "duplicate field \"a\"")]
    [InlineData("{\"spec\":{\"color\":\"red\",\"color\":\"blue\"}}", "duplicate field \"spec.color\"")]
    [InlineData("{\"a\":[{\"b\":1},{\"b\":1,\"b\":2}]}", "duplicate field \"a[1].b\"")]
    public void A_key_given_twice_is_named(string json, string expected) => Assert.Equal([expected], RequestBody.Duplicates(Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void The_same_key_in_two_objects_is_no_duplicate() => Assert.Empty(RequestBody.Duplicates("{\"a\":{\"x\":1},\"b\":[{\"x\":1},{\"x\":2}]}"u8.ToArray()));
}
