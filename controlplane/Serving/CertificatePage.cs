using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AmbientMesh.ControlPlane.Certificates;

namespace AmbientMesh.ControlPlane.Serving;

/// <summary>The CA in force as JSON: what signs, which roots are trusted, and what the exchange of a self-signed root waits for. No key is in it.</summary>
internal static class CertificatePage
{
    /// <param name="rotation">When a self-signed root is exchanged.</param>
    public static void Write(Utf8JsonWriter json, SigningAuthority authority, RootRotationOptions rotation)
    {
        var current = authority.Current;
        json.WriteStartObject();
        json.WriteBoolean("plugged_in", authority.IsPluggedIn);
        json.WritePropertyName("signing");
        Write(json, current.Certificate);
        json.WriteStartArray("roots");
        foreach (var root in current.Roots.Roots) Write(json, root);
        json.WriteEndArray();
        if (rotation.CheckInterval > TimeSpan.Zero && authority.NextStep(rotation) is (not RootStep.None, _) and var (step, at))
        {
            json.WriteStartObject("rotation");
            json.WriteString("next_step", step.ToString().ToLowerInvariant());
            json.WriteString("due", at);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, X509Certificate2 certificate)
    {
        json.WriteStartObject();
        json.WriteString("subject", certificate.Subject);
        json.WriteString("serial", certificate.SerialNumber);
        json.WriteString("not_before", certificate.NotBefore.ToUniversalTime());
        json.WriteString("not_after", certificate.NotAfter.ToUniversalTime());
        json.WriteEndObject();
    }
}
